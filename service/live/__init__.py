"""Live video and scores, from a session to those who watch it, on whichever server they are connected to.

decoder child -> the session's `viewers` in its worker -> TCP -> `watch` of a server -> `service.api.live` -> WebSocket.
Nothing is sent without a viewer, and nothing passes through the store. A viewer that is too slow for the video
misses a part of it, up to a keyframe; it slows neither the session nor other viewers.
"""
