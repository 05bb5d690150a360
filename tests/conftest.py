"""Settings and fixtures that tests share."""

import os

# One thread here and in every process that a test starts, because several wait for each other on shared cores. Where
# there are two, as in clip mode, they sleep while they wait. Both are read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

from service.quick_imports import quick_imports
from service.store.protocols import Store
from tests.support.disturbed_place import Place, a_place
from tests.support.leak_reporting_loop import LeakReportingLoop
from tests.support.made_videos import remuxed
from tests.support.push_kit import Pushing, pushing
from tests.support.redis_server import RedisServer, redis_server
from tests.support.session_kit import Reported, decoders_of, expected_actions, write_lively_video
from tests.support.slowest_files import SLOWEST_FILES
from tests.support.store_kit import BACKENDS, Clock, open_redis, open_sqlite, with_worker
from tests.support.tiny_model import checkpoint_for, load

# A slow or busy machine is not a failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-videos", type=int, default=48, help="how many damaged videos test_fuzz.py sends")
    parser.addoption(
        "--fuzz-requests", type=int, default=10, help="how many examples test_openapi.py makes of each kind"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Each process of a run imports every test file."""
    with quick_imports():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first. At the end, one process would work on them while the others are idle."""
    rank = {path: number for number, path in enumerate(SLOWEST_FILES)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Servers and workers run on uvloop, which differs from asyncio's own loop in how connections and children end."""
    return {"uvloop": LeakReportingLoop}


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds in which the tiny model sees many actions."""
    return write_lively_video(tmp_path_factory.mktemp("video") / "v.mp4", count=120)


@pytest.fixture(scope="session")
def model(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the tiny model."""
    return checkpoint_for(video, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def expected(video: Path, model: Path) -> list[Reported]:
    """The events that an undisturbed run reports in `video`."""
    reported = expected_actions(video, load(model))
    assert len(reported) >= 6
    return reported


@pytest.fixture
async def place(model: Path, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(model, tmp_path / "data") as opened:
        yield opened


@pytest.fixture(scope="session")
def stream(video: Path) -> bytes:
    """`video` as a client pushes it."""
    return remuxed(video, "mpegts").read_bytes()


@pytest.fixture
async def pushed(model: Path, tmp_path: Path) -> AsyncIterator[Pushing]:
    """A server and a worker."""
    async with pushing(tmp_path, model) as service, service.worker():
        yield service
    assert decoders_of(os.getpid()) == []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """An empty Redis."""
    shared_redis.empty()
    return shared_redis.url


@pytest_asyncio.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Every store in turn."""
    if request.param == "redis":
        opened = open_redis(request.getfixturevalue("redis_url"), clock)
    else:
        opened = open_sqlite(tmp_path, clock)
    async with with_worker(opened):
        yield opened
