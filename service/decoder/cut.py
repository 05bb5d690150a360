"""The parent's side of cutting a clip or a still out of a stored video."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from model.video.errors import VideoError
from service.decoder.cut_protocol import CUT_BEGINS, CUT_DATA, CutRequest
from service.decoder.messages import DecoderDiedError, child_environment, message_pipe, read_message
from service.decoder.protocol import ENDED, ERROR

# A file with faulty timestamps is decoded from its beginning. The child's processor time is also limited.
SILENCE_S = 120.0
TOO_LARGE = "The clip would be larger than {} bytes. Request a shorter one with before_s and after_s."
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Cut:
    """The result: an MP4 or a JPEG. `from_s` is the media time of the first frame of a clip."""

    data: bytes
    from_s: float


async def cut(request: CutRequest, *, max_bytes: int) -> Cut:
    """Cut in a child process, which has ended when this returns, raises or is cancelled.

    Raises DecoderDiedError and VideoError, with `limit_exceeded` for more than `max_bytes`.
    """
    async with message_pipe() as (messages, pipe):
        with pipe:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.decoder.cut_child"),
                stdin=PIPE,
                stdout=pipe,
                stderr=DEVNULL,
                env=child_environment(),
            )
        assert process.stdin is not None
        try:
            process.stdin.write(replace(request, parent_pid=os.getpid()).to_json().encode() + b"\n")
            return await _collect(messages, request, max_bytes)
        except TimeoutError:
            raise DecoderDiedError(f"The child sent nothing for {SILENCE_S:.0f} s.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            process.stdin.close()
            await process.wait()


async def _collect(messages: asyncio.StreamReader, request: CutRequest, max_bytes: int) -> Cut:
    data, from_s = bytearray(), request.from_s
    while True:
        kind, payload = await read_message(messages, SILENCE_S)
        if kind == CUT_DATA:
            data += payload
            if len(data) > max_bytes:
                raise VideoError("limit_exceeded", TOO_LARGE.format(max_bytes))
        elif kind == CUT_BEGINS:
            from_s = json.loads(payload)["from_s"]
        elif kind == ENDED:
            return Cut(bytes(data), from_s)
        elif kind == ERROR:
            error = json.loads(payload)
            if "traceback" in error:
                _log.error("cutting a video failed", traceback=error["traceback"])
            raise VideoError(error["code"], error["detail"])
        else:
            raise DecoderDiedError(f"The child sent a message of unknown kind {kind!r}.")
