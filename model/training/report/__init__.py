"""The final report of a training run."""
