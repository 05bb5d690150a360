"""The stages of `cake train`, one module each, and code that several of them share."""
