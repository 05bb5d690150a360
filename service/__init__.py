"""CAKE, served: sessions over HTTP, action starts over JSON, SSE and WebSocket."""
