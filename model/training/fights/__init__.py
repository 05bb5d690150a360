"""Rendered clips of people who fight and of people who do not, as a surveillance camera sees them."""
