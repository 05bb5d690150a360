"""Listening sockets, and how many connections the open-file limit allows."""

import ipaddress
import resource
import socket

UNREAD_MS = 30_000
"""The kernel closes a connection whose peer acknowledges nothing for this long."""
RESERVED_FILES = 640
"""Open files that are not used for connections: deliveries of webhooks (512), the store, uploads, workers, and health
checks."""


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 selects a free one. Raises OSError when the address is in use or not local."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm only if the protocol is given explicitly.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by accepted connections: uvicorn has no timeout for a client that stopped reading.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        # Keep-alive probes detect a peer that vanished while there is nothing to send.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNREAD_MS // 1000)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether a listening socket accepts connections from this machine only."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def raise_open_file_limit() -> int:
    """Raise this process's limit of open files as far as permitted, and return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def max_connections() -> int:
    """Connections that the limit of open files allows besides RESERVED_FILES."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - RESERVED_FILES, soft // 2)
