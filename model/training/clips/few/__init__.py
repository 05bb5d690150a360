"""A new action from a few clips: a frozen network, a classifier on top, and an honest estimate of how good it is."""
