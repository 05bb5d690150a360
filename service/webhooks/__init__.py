"""Events posted to a URL of the caller's, signed as Standard Webhooks says, from an outbox that outlives the server."""
