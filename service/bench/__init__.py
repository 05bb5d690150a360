"""The measurements of `cake bench`."""
