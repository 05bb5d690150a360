"""The data layouts of the field: annotated videos, lists of clips, per-frame features."""
