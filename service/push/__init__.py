"""Video that clients push: from their request to the decoder of their session, without a file in between.

client -> `service.api.push` -> `forward` -> TCP -> `gate` of the worker that runs the session -> the decoder child's
`service.decoder.pushed_video`. Nothing is stored on the way; if a decoder does not read, the client is paused.
"""
