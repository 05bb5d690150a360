"""What each step of the recipe brings."""
