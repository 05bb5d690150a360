"""Decoders are forked from one process, share its memory, and do not depend on each other."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from service.decoder.fork_server import ForkServer, open_fork_server
from service.decoder.messages import DecoderDiedError
from service.decoder.process import DecodedFrame, Message, start_decoder
from tests.support.decode_kit import request
from tests.support.made_videos import write_video


@pytest.fixture
async def forks() -> AsyncIterator[ForkServer]:
    async with open_fork_server() as server:
        yield server


async def frames(messages: AsyncIterator[Message]) -> int:
    return sum([1 async for message in messages if isinstance(message, DecodedFrame)])


async def test_decoders_share_the_memory_of_one_process_and_outlive_each_other(
    forks: ForkServer, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "v.mp4", count=60)
    async with start_decoder(request(path), forks=forks) as one, start_decoder(request(path), forks=forks) as other:
        process = psutil.Process(other.pid)
        assert process.ppid() == psutil.Process(one.pid).ppid()
        messages = other.messages()
        await anext(messages)
        memory = process.memory_full_info()
        assert memory.uss < 0.6 * memory.rss
        one.kill()
        assert await frames(messages) == 20
    assert not psutil.pid_exists(process.pid)
    other.kill()  # as a session that is halted when its source has ended


async def test_a_server_that_was_killed_is_started_again(forks: ForkServer, tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=30)
    async with start_decoder(request(path), forks=forks) as decoder:
        server = psutil.Process(decoder.pid).ppid()
        os.kill(server, signal.SIGKILL)
    async with start_decoder(request(path), forks=forks) as decoder:
        assert psutil.Process(decoder.pid).ppid() != server
        assert await frames(decoder.messages()) == 10


async def test_a_decoder_that_nobody_waits_for_any_more_ends(forks: ForkServer, tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=30)

    async def start() -> None:
        async with start_decoder(request(path), forks=forks):
            raise AssertionError("it was cancelled before")

    starting = asyncio.create_task(start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with start_decoder(request(path), forks=forks) as decoder:
        process = psutil.Process(decoder.pid)
        assert psutil.Process(process.ppid()).children() == [process]
        assert await frames(decoder.messages()) == 10


async def test_a_server_that_does_not_reply_in_time_is_ended(tmp_path: Path) -> None:
    hasty = ForkServer(reply_within_s=0.0)
    with pytest.raises(DecoderDiedError, match="within 0 s"):
        async with start_decoder(request(write_video(tmp_path / "v.mp4", count=3)), forks=hasty):
            raise AssertionError("nothing replies at once")
    assert "service.decoder.fork_server_child" not in [
        part for one in psutil.Process().children() for part in one.cmdline()
    ]


@pytest.mark.parametrize("allowed", [5, 6], ids=["not all files arrive", "no number is left for the decoder"])
async def test_a_decoder_that_could_not_be_forked_costs_no_other(
    forks: ForkServer, tmp_path: Path, allowed: int
) -> None:
    path = write_video(tmp_path / "v.mp4", count=30)
    async with start_decoder(request(path), forks=forks) as decoder:
        server = psutil.Process(decoder.pid).ppid()
        _, most = resource.prlimit(server, resource.RLIMIT_NOFILE)
        resource.prlimit(server, resource.RLIMIT_NOFILE, (allowed, most))
        # Either it is known by no number, or it ended because it had none for its files, which may show only when read.
        for _ in range(10):
            with pytest.raises((OSError, DecoderDiedError)):
                async with start_decoder(request(path), forks=forks) as unborn:
                    await frames(unborn.messages())
        assert await frames(decoder.messages()) == 10
    resource.prlimit(server, resource.RLIMIT_NOFILE, (most, most))
    async with start_decoder(request(path), forks=forks) as decoder:
        assert psutil.Process(decoder.pid).ppid() == server
