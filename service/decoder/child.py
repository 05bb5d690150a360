"""The decoder child process of one session: a source in, small RGB frames out over a pipe.

It imports neither torch nor asyncio nor pydantic, because dozens of these processes run at the same time.
"""

import os
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from model.video.container import has_ended
from model.video.file_reader import FileReader
from model.video.packet_buffer import PacketBuffer
from model.video.packets import PacketReader
from model.video.source import is_url
from service.confinement.confine import die_with_parent, limit_resources, restrict_network, restrict_reading
from service.decoder.clips import Clips
from service.decoder.file import send_file
from service.decoder.live import send_live
from service.decoder.protocol import ALIVE, CONFINED, ENDED, OPENED, Confinement, DecodeRequest, Input, Output
from service.decoder.pushed_video import PushedVideo
from service.decoder.reported_errors import reported_errors

# Detectors have priority: their steps are short, and other sessions wait for them.
NICENESS = {"realtime": 2, "fast": 5}


def run(request: DecodeRequest, input_: Input, pipe: BinaryIO) -> None:
    """Confine this process, decode the source and write all messages; the last one is ENDED or ERROR."""
    output = Output(pipe)
    output.send(ALIVE)
    with reported_errors(output):
        output.send_json(CONFINED, asdict(_confine(request)))
        with _open(request, output) as packets:
            if request.was_live and has_ended(packets.container):
                # This lists the recording of what was analysed live.
                output.send_json(ENDED, {"warnings": [], "is_final": True})
                return
            clips = Clips(packets, output, request.starts_at_s)
            try:
                ended = _send(request, packets, input_, output, clips)
            finally:
                clips.finish(input_)
            output.send_json(ENDED, ended)


def _send(
    request: DecodeRequest, packets: PacketReader, input_: Input, output: Output, clips: Clips
) -> dict[str, object]:
    """Send the frames of the source until its end; returns the content of the ENDED message."""
    if packets.is_live:
        warnings = send_live(request, packets, input_, output, clips)
        return {"warnings": [*packets.warnings, *warnings], "is_final": False}
    output.send_json(OPENED, asdict(packets.info))
    warnings = send_file(request, FileReader(packets, request.time_zero), input_, output, clips)
    return {"warnings": warnings, "is_final": True}


def _open(request: DecodeRequest, output: Output) -> PacketReader:
    def on_packet() -> None:
        output.send_alive(time.monotonic())

    buffer = PacketBuffer(request.clip_buffer_s, request.clip_buffer_bytes) if request.clip_buffer_s > 0 else None
    if request.pushed_fd is None:
        assert request.address is not None
        return PacketReader(
            request.address,
            options=request.options,
            timeout_s=request.timeout_s,
            live=True if request.was_live else request.live,
            stream=request.stream,
            keyframe_timeout_s=request.keyframe_timeout_s,
            buffer=buffer,
            on_packet=on_packet,
        )
    pushed = PushedVideo(socket.socket(fileno=request.pushed_fd), request.timeout_s)
    is_live = request.pace == "realtime"
    return PacketReader(
        pushed,
        timeout_s=request.timeout_s,
        live=is_live,
        stream=request.stream,
        buffer=buffer,
        on_packet=on_packet,
    )


def _confine(request: DecodeRequest) -> Confinement:
    """Limit this process to its source before a byte of it is read. Raises ConfinementUnavailableError."""
    limit_resources(max_bytes=request.max_bytes, max_cpu_s=request.max_cpu_s)
    is_file = request.address is not None and not is_url(request.address)
    readable = [request.address if is_file else request.options.get("ca_file")]
    landlock = restrict_reading(Path(path) for path in readable if path is not None)
    restrict_network(request.channel_fd)
    return Confinement(seccomp=True, landlock=landlock)


def main() -> None:
    """Entry of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = DecodeRequest.from_json(sys.stdin.readline())
    die_with_parent(request.parent_pid)
    os.nice(NICENESS[request.pace])
    # Only messages may reach the pipe, so output of libraries goes to stderr instead of stdout.
    pipe_fd = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(pipe_fd, "wb") as pipe:
        run(request, Input(sys.stdin.fileno()), pipe)


if __name__ == "__main__":
    main()
