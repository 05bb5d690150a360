"""Looking inside: where a network looks, and how its features lie."""
