"""Fine-tuning a checkpoint to other labels with a few hundred labelled clips, with cross-validation by blocks."""
