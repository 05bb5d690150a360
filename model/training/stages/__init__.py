"""The stages of `cake train`, one module each, and what several of them share."""
