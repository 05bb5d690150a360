"""A checkpoint taught other labels from a few hundred labelled clips, cross-validated by blocks."""
