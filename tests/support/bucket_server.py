"""A bucket of a real S3 server on a free port of 127.0.0.1, that of moto."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class Bucket:
    url: str
    environ: dict[str, str]
    """Environment variables with which a process reaches it."""
    _server: ThreadedMotoServer

    def stop(self) -> None:
        self._server.stop()

    def names(self) -> list[str]:
        """The names of the stored objects."""
        listing = httpx.get(f"{self.environ['AWS_ENDPOINT_URL']}/videos?list-type=2", timeout=120).text
        return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]


@contextmanager
def bucket_server() -> Iterator[Bucket]:
    """A server with the empty bucket `videos`, for this process and its children."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # Moto keeps buckets per process, not per server.
    httpx.post(f"{endpoint}/moto-api/reset", timeout=120).raise_for_status()
    httpx.put(f"{endpoint}/videos", timeout=120).raise_for_status()
    environ = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    try:
        yield Bucket("s3://videos/cake", environ, server)
    finally:
        server.stop()
