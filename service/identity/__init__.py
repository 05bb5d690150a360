"""People: the roles that their groups give them, and the identity provider that authenticates them."""
