"""How good scores and starts are, and the decoder settings chosen for them."""
