"""The process that decoders are forked from: they share the memory of what it has imported.

`fork_server_child.py PARENT`: standard input is a socket of datagrams. Each holds the files of one decoder; the reply
is its process id with a pidfd, or the number of an error. This process never touches video, has no secrets, and ends
when the socket is closed; its decoders end with it.
"""

import gc
import os
import signal
import socket
import sys

from service.confinement.confine import die_with_parent
from service.decoder import child
from service.decoder.fork_protocol import FIRST_FD, FORKED, MAX_FILES

# Objects, and collections of the younger generation, after which a decoder collects garbage.
COLLECT_AFTER = 10, 1, 1
# While they change places, files are above all numbers that they get.
_SPARE_FD = 64


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel reaps decoders; whoever asked for one notices its end by the pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    die_with_parent(int(sys.argv[1]))
    # Decoders then do not copy objects only to collect garbage. They make few objects, but PyAV ties a frame whose side
    # data was read into a reference cycle: by Python's own thresholds, 40 of them stayed.
    gc.collect()
    gc.freeze()
    # Python skips the oldest generation until as many objects are new as a quarter of those that this finds: none now.
    gc.collect()
    gc.set_threshold(*COLLECT_AFTER)
    with socket.socket(fileno=os.dup(0)) as orders:
        while _fork_one(orders):
            pass


def _fork_one(orders: socket.socket) -> bool:
    """Wait for the next order and fork its decoder. Returns False when there are no more."""
    order, files, _, _ = socket.recv_fds(orders, 1, MAX_FILES)
    if not order:
        return False
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        _decode(files)
    for fd in files:
        os.close(fd)
    pidfds = [os.pidfd_open(pid)] if pid > 0 else []
    socket.send_fds(orders, [FORKED.pack(pid)], pidfds)
    for fd in pidfds:
        os.close(fd)
    return True


def _decode(files: list[int]) -> None:
    """Be a decoder, and end."""
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
