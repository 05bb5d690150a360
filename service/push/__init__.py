"""Video that clients push: from their request to the decoder of their session, without a file in between.

client -> `service.api.push` -> `forward` -> TCP -> `gate` of the worker that has the session -> `pushed_video`, which
the decoder process reads by itself. Nothing is kept on the way: a decoder that does not read holds up the client.
"""
