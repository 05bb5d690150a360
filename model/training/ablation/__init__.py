"""The effect of each step of the recipe."""
