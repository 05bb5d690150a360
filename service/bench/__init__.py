"""What this machine can do, measured in one run: the numbers of `cake bench`."""
