"""Authentication: API keys, their scopes and rate limits. Independent of HTTP and of the store."""
