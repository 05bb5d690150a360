"""A Redis for one test, and rows of another version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.other_version import Backend
from tests.support.redis_server import RedisServer, redis_server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    redis: RedisServer | None = None
    if request.param == "redis":
        request.getfixturevalue("redis_url")
        redis = request.getfixturevalue("shared_redis")
    return Backend(request.param, tmp_path, redis)
