"""The process that decoders are forked from, so that they share the memory of its imports.

`fork_server_child.py PARENT`: standard input is a socket of datagrams. Each holds the files of one decoder; the reply
is its process id with a pidfd, or the number of an error. This process never touches video, has no secrets, and ends
when the socket is closed; its decoders end with it.
"""

import errno
import gc
import os
import signal
import socket
import sys
from contextlib import suppress

from service.confinement.confine import die_with_parent
from service.decoder import child
from service.decoder.fork_protocol import FIRST_FD, FORKED, MAX_FILES

# The numbers of objects, and of collections of the younger generation, after which a decoder collects garbage.
COLLECT_AFTER = 10, 1, 1
# While files are renumbered, they are moved above all numbers that they will get.
_SPARE_FD = 64


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel reaps decoders; the worker notices the end of one by its pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    die_with_parent(int(sys.argv[1]))
    # Decoders then do not copy objects only to collect garbage. They make few objects, but in PyAV a frame whose side
    # data was read becomes part of a reference cycle: with Python's default thresholds, 40 of them stayed in memory.
    gc.collect()
    gc.freeze()
    # Python skips the oldest generation until the number of new objects is a quarter of those that this call finds,
    # which are now none.
    gc.collect()
    gc.set_threshold(*COLLECT_AFTER)
    with socket.socket(fileno=os.dup(0)) as orders:
        while _fork_one(orders):
            pass


def _fork_one(orders: socket.socket) -> bool:
    """Wait for the next order and fork its decoder. Returns False when there are no more."""
    order, files, flags, _ = socket.recv_fds(orders, 1, MAX_FILES)
    if not order:
        return False
    # The kernel leaves out files for which this process has no free numbers.
    pid, pidfds = (-errno.EMFILE, []) if flags & socket.MSG_CTRUNC else _fork(files)
    socket.send_fds(orders, [FORKED.pack(pid)], pidfds)
    for fd in (*files, *pidfds):
        os.close(fd)
    return True


def _fork(files: list[int]) -> tuple[int, list[int]]:
    """The process id and the pidfd of a new decoder, or the number of an error below 0."""
    try:
        pid = os.fork()
        if pid == 0:
            _decode(files)
        try:
            return pid, [os.pidfd_open(pid)]
        except OSError:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
    except OSError as error:
        return -(error.errno or errno.EIO), []


def _decode(files: list[int]) -> None:
    """Run as a decoder, then exit."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, fd in enumerate(files):
            os.dup2(fd, _SPARE_FD + number)
        os.closerange(3, _SPARE_FD)
        for number in range(len(files)):
            # Standard input, standard output, and others in order.
            os.dup2(_SPARE_FD + number, number if number < 2 else FIRST_FD + number - 2)
        os.closerange(_SPARE_FD, _SPARE_FD + len(files))
        child.main()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
