"""A decoder that was compromised by a hostile video reaches only its source."""

import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from model.video.errors import VideoError
from service.confinement.broker import ConnectionBroker
from service.decoder.process import start_decoder
from service.decoder.protocol import DecodeRequest
from service.sources.address_policy import PUBLIC_ONLY, AddressPolicy
from tests.support.made_videos import write_video

CAMERAS = AddressPolicy((ip_network("127.0.0.1/32"),))
"""127.0.0.1 is where the source is; 127.0.0.2 represents the internal network."""


async def test_a_decoder_that_exceeds_its_memory_limit_fails_only_itself(tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", width=4096, height=4096, count=6)
    request = DecodeRequest(str(path), {}, 10.0, 32, "fast", None, 0.0, 60.0, max_bytes=230 * 1024**2)
    async with start_decoder(request) as decoder:
        with pytest.raises(VideoError) as caught:
            await anext(decoder.messages())
    assert caught.value.code == "decode_failed"


TAKEN_OVER = """
import ctypes, errno, fcntl, os, signal, socket, sys, threading
from pathlib import Path
from service.confinement.confine import limit_resources, restrict_network, restrict_reading

X86 = os.uname().machine == "x86_64"

def attempt(name, act):
    try:
        act()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "done")

def tcp(*address):
    with socket.create_connection(address, 2):
        pass

def udp(host):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

libc = ctypes.CDLL(None, use_errno=True)

def system_call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def fork():
    if os.fork() == 0:
        os._exit(0)

def thread():
    done = []
    started = threading.Thread(target=done.append, args=[1])
    started.start()
    started.join()
    assert done

limit_resources(max_bytes=10**9, max_cpu_s=60)
restrict_reading([Path(sys.argv[2])])
restrict_network(int(sys.argv[1]) if sys.argv[1] != "none" else None)
port, inner_port = int(sys.argv[3]), int(sys.argv[4])
attempt("tcp-permitted", lambda: tcp("127.0.0.1", port))
attempt("tcp", lambda: tcp("127.0.0.2", inner_port))
attempt("tcp6-mapped", lambda: socket.socket(socket.AF_INET6).connect(("::ffff:127.0.0.2", inner_port)))
attempt("udp-connect", lambda: udp(0).connect(("127.0.0.2", 9)))
attempt("udp-send", lambda: udp(0).sendto(b"x", ("127.0.0.2", 9)))
attempt("udp-message", lambda: udp(0).sendmsg([b"x"], [], 0, ("127.0.0.2", 9)))
attempt("udp-permitted", lambda: udp(0).sendto(b"x", ("127.0.0.1", port)))
attempt("udp-message-permitted", lambda: udp(0).sendmsg([b"x", b"y"], [], 0, ("127.0.0.1", port)))
attempt("copy-of-socket", lambda: socket.socket(socket.AF_INET).dup().connect(("127.0.0.1", port)))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("listen", lambda: socket.socket(socket.AF_INET).listen())
attempt("program", lambda: os.execv(sys.executable, [sys.executable, "-c", ""]))
attempt("read-own", lambda: Path(sys.argv[2]).read_bytes())
attempt("read-other", lambda: Path(sys.argv[5]).read_bytes())
attempt("write", lambda: Path(sys.argv[2]).write_bytes(b"x"))
attempt("list", lambda: os.listdir("/"))
attempt("thread", thread)
attempt("signal-to-itself", lambda: signal.raise_signal(signal.SIGCHLD))
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("signal-to-thread", lambda: system_call(234 if X86 else 131, os.getppid(), os.getppid(), 0))
attempt("signal-by-file", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()))
attempt("limits-of-others", lambda: system_call(302 if X86 else 261, os.getppid(), 7, 0, 0))
attempt("process", fork)
attempt("new-user-namespace", lambda: system_call(272 if X86 else 97, 0x10000000))
attempt("process-in-namespace", lambda: system_call(56 if X86 else 220, 0x10000011, 0, 0, 0, 0))
attempt("keys", lambda: system_call(250 if X86 else 219, 0, -3, 0))
attempt("user-fault-handling", lambda: system_call(323 if X86 else 282, 1))
attempt("performance-counters", lambda: system_call(298 if X86 else 241, 0, 0, -1, -1, 0))
attempt("recent", lambda: system_call(447, 0))
"""


def taken_over(folder: Path, *, channel: socket.socket | None, port: int, inner_port: int) -> dict[str, str]:
    """The results of everything that a confined process tries."""
    own, other = folder / "own", folder / "other"
    own.write_text("own")
    other.write_text("other")
    fd = "none" if channel is None else str(channel.fileno())
    arguments = [sys.executable, "-c", TAKEN_OVER, fd, str(own), str(port), str(inner_port), str(other)]
    passed = () if channel is None else (channel.fileno(),)
    done = subprocess.run(arguments, pass_fds=passed, capture_output=True, text=True, check=True, timeout=60)
    return dict(line.split() for line in done.stdout.splitlines())


def test_a_compromised_decoder_reaches_only_its_source(tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    broker = ConnectionBroker(CAMERAS, ours)
    broker.start()
    with (
        socket.create_server(("127.0.0.1", 0)) as source,
        socket.create_server(("127.0.0.2", 0)) as inside,
        its,
    ):
        ports = {"port": source.getsockname()[1], "inner_port": inside.getsockname()[1]}
        got = taken_over(tmp_path, channel=its, **ports)
    broker.join()
    assert got == {
        "tcp-permitted": "done",
        "udp-permitted": "done",
        "udp-message-permitted": "done",
        "read-own": "done",
        "tcp": "EACCES",
        "tcp6-mapped": "EACCES",
        "udp-connect": "EACCES",
        "udp-send": "EACCES",
        "udp-message": "EACCES",
        "copy-of-socket": "EACCES",
        "raw": "EACCES",
        "unix": "EAFNOSUPPORT",
        "netlink": "EAFNOSUPPORT",
        "listen": "EPERM",
        "program": "EPERM",
        "read-other": "EACCES",
        "write": "EACCES",
        "list": "EACCES",
        "thread": "done",
        "signal-to-itself": "done",
        "signal": "EPERM",
        "signal-to-thread": "EPERM",
        "signal-by-file": "EPERM",
        "limits-of-others": "EPERM",
        "process": "EPERM",
        "new-user-namespace": "EPERM",
        "process-in-namespace": "EPERM",
        "keys": "EPERM",
        "user-fault-handling": "EPERM",
        "performance-counters": "EPERM",
        "recent": "ENOSYS",
    }
    assert set(broker.refused) == {IPv4Address("127.0.0.2"), IPv6Address("::ffff:127.0.0.2")}


def test_a_decoder_of_a_file_has_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        got = taken_over(tmp_path, channel=None, port=port, inner_port=port)
    reaching = [name for name in got if name.startswith(("tcp", "udp", "copy"))]
    assert len(reaching) == 9
    assert {got[name] for name in reaching} == {"EACCES"}
    assert got["read-own"] == "done"


def test_a_broker_whose_decoder_never_starts_ends() -> None:
    ours, its = socket.socketpair()
    broker = ConnectionBroker(PUBLIC_ONLY, ours)
    broker.start()
    its.close()
    broker.join()
    assert broker.refused == ()
