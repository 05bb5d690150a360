"""Names whose name servers are dead delay neither other names nor anything else."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from service.sources.address_policy import AddressPolicy
from service.sources.resolution import MAX_LOOKUPS, permitted_addresses
from service.sources.sources import SourceForbiddenError

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),))


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Until the test ends, names below hanging.example get no answer."""
    ended = threading.Event()
    answered = socket.getaddrinfo

    def look_up(host: str, *arguments: object, **options: object) -> object:
        if host.endswith("hanging.example"):
            ended.wait()
            raise OSError("no answer")
        return answered(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    before = set(threading.enumerate())
    yield
    ended.set()
    for thread in set(threading.enumerate()) - before:
        if thread.daemon:
            thread.join()


@pytest.mark.usefixtures("hanging")
async def test_names_without_an_answer_hold_up_no_others_and_are_bounded() -> None:
    asking = [
        asyncio.create_task(permitted_addresses(f"h{n}.hanging.example", 80, LOOPBACK)) for n in range(MAX_LOOKUPS - 1)
    ]
    async with asyncio.timeout(60):
        assert await permitted_addresses("127.0.0.1", 80, LOOPBACK) == [ip_address("127.0.0.1")]
        assert await asyncio.to_thread(lambda: "files are read and written") != ""
    asking.append(asyncio.create_task(permitted_addresses("last.hanging.example", 80, LOOPBACK)))
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many names"):
        await permitted_addresses("127.0.0.1", 80, LOOPBACK)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)


async def test_a_name_that_cannot_exist_and_one_that_is_not_permitted_have_different_errors() -> None:
    with pytest.raises(OSError, match="encoded"):
        await permitted_addresses("a..b", 80, LOOPBACK)
    with pytest.raises(SourceForbiddenError):
        await permitted_addresses("10.0.0.1", 80, LOOPBACK)
