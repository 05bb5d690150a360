"""Who may do what: API keys, tickets and their limits. Knows neither HTTP nor the store."""
