"""The child process that cuts a clip or a still out of a stored video: confined like a decoder, with no network."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from model.video.file_reader import FileReader
from model.video.packets import PacketReader
from model.video.part import VideoPart
from service.confinement.confine import die_with_parent, limit_resources, restrict_network, restrict_reading
from service.decoder.child import NICENESS
from service.decoder.cut_protocol import CUT_BEGINS, CUT_DATA, CutRequest
from service.decoder.protocol import ENDED, Output
from service.decoder.reported_errors import reported_errors


class _Sink:
    """A file whose writes become messages."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, data: bytes, /) -> int:
        self._output.send(CUT_DATA, data)
        return len(data)


def run_cut(request: CutRequest, pipe: BinaryIO) -> None:
    """Confine this process, cut, and write all messages; the last one is ENDED or ERROR."""
    output = Output(pipe)
    with reported_errors(output):
        limit_resources(max_bytes=request.max_bytes, max_cpu_s=request.max_cpu_s)
        restrict_reading([Path(request.path)])
        restrict_network(None)
        _cut(request, output)
        output.send_json(ENDED, {})


def _cut(request: CutRequest, output: Output) -> None:
    with PacketReader(request.path, stream=request.stream) as packets:
        part = VideoPart(packets, FileReader(packets, request.time_zero))
        if request.kind == "still":
            output.send(CUT_DATA, part.still_jpeg(request.from_s, request.max_side))
            return
        for from_s in part.write_clip(request.from_s, request.to_s, _Sink(output)):
            output.send_json(CUT_BEGINS, {"from_s": from_s})


def main() -> None:
    """Entry of the child process."""
    request = CutRequest.from_json(sys.stdin.readline())
    die_with_parent(request.parent_pid)
    os.nice(NICENESS["fast"])
    # Only messages may reach the pipe, so output of libraries goes to stderr instead of stdout.
    pipe_fd = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(pipe_fd, "wb") as pipe:
        run_cut(request, pipe)


if __name__ == "__main__":
    main()
