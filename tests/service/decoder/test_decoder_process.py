"""The decoder child is small, reveals no secret, waits for its reader, and never outlives its parent."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.decoder.messages import DecoderDiedError
from service.decoder.process import DecodedFrame, Message, start_decoder
from tests.support.decode_kit import LOOPBACK, request
from tests.support.made_videos import write_video
from tests.support.running_server import until
from tests.support.session_kit import ends_within
from tests.support.video_server import serve_folder


async def drain(messages: AsyncIterator[Message]) -> None:
    async for _ in messages:
        pass


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def scheduler_state(pid: int) -> str:
    """`S` asleep, `R` running, `Z` dead but not reaped."""
    return Path(f"/proc/{pid}/stat").read_text().split()[2]


def peak_memory_kb(pid: int) -> int:
    """0 for a process that has exited, although some of its messages are still unread."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return 0 if found is None else int(found[1])


async def test_the_address_is_not_in_the_process_list(tmp_path: Path) -> None:
    with serve_folder(tmp_path) as host:
        async with start_decoder(request(f"http://user:hunter2@{host}/stall/v.mp4"), LOOPBACK) as decoder:
            proc = Path(f"/proc/{decoder.pid}")
            assert b"service.decoder.fork_server_child" in proc.joinpath("cmdline").read_bytes()
            assert b"hunter2" not in proc.joinpath("cmdline").read_bytes() + proc.joinpath("environ").read_bytes()


async def test_a_killed_child_is_noticed_and_reaped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=60)
    async with start_decoder(request(path, pace="realtime")) as decoder:
        messages = decoder.messages()
        await anext(messages)
        os.kill(decoder.pid, signal.SIGKILL)
        with pytest.raises(DecoderDiedError):
            await drain(messages)
    assert is_gone(decoder.pid)


async def test_a_child_that_dies_before_a_message_to_it_is_noticed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=60)
    async with start_decoder(request(path, pace="realtime")) as decoder:
        messages = decoder.messages(lambda: is_gone(decoder.pid))
        await anext(messages)
        os.kill(decoder.pid, signal.SIGKILL)
        await until(lambda: is_gone(decoder.pid))
        with pytest.raises(DecoderDiedError):
            await drain(messages)


async def test_leaving_early_and_being_cancelled_both_end_the_child(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=300)
    async with start_decoder(request(path)) as decoder:
        await anext(decoder.messages())
    assert is_gone(decoder.pid)

    pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def follow() -> None:
        async with start_decoder(request(path, pace="realtime")) as running:
            pid.set_result(running.pid)
            await drain(running.messages())

    task = asyncio.create_task(follow())
    running_pid = await pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(running_pid)


async def test_a_reader_that_stops_reading_stops_the_decoder(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=300, width=64, height=64)
    async with start_decoder(request(path, size=224)) as decoder:
        messages = decoder.messages()
        while not isinstance(await anext(messages), DecodedFrame):
            pass
        # 100 frames of 150 kB do not fit the pipe and the buffer: the child does not end but waits to write.
        asleep = 0
        while asleep < 10:
            await asyncio.sleep(0.02)
            state = scheduler_state(decoder.pid)
            assert state != "Z"
            asleep = asleep + 1 if state == "S" else 0
        assert sum([1 async for message in messages if isinstance(message, DecodedFrame)]) == 99


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=300)
    program = (
        "import asyncio, sys\n"
        "from service.decoder.protocol import DecodeRequest\n"
        "from service.decoder.process import start_decoder\n"
        "async def main():\n"
        "    asked = DecodeRequest(sys.argv[1], {}, 10.0, 32, 'realtime', None, 0.0, 5.0)\n"
        "    async with start_decoder(asked) as decoder:\n"
        "        messages = decoder.messages()\n"
        "        await anext(messages)\n"
        "        sys.stdout.write(f'{decoder.pid}\\n'); sys.stdout.flush()\n"
        "        async for _ in messages: pass\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert ends_within(child, 30.0)


def test_the_child_imports_neither_torch_nor_asyncio_nor_pydantic() -> None:
    program = "import sys, service.decoder.child; sys.stdout.write(' '.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "asyncio", "pydantic", "structlog"} & set(modules)
    assert "av" in modules


async def test_the_child_stays_small_on_full_hd(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "refs": "4", "bf": "3"}
    path = write_video(tmp_path / "v.mp4", width=1920, height=1080, count=30, codec_options=options)
    peak_kb = 0
    async with start_decoder(request(path, size=160)) as decoder:
        async for message in decoder.messages():
            if isinstance(message, DecodedFrame):
                peak_kb = max(peak_kb, peak_memory_kb(decoder.pid))
    assert 20_000 < peak_kb < 120_000
