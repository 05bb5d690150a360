"""Other implementations of the same tasks on the same core, for comparison (`cake bench --peers`)."""
