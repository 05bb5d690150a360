"""Sends notifications with Apprise: each in a separate confined child process, a few at a time."""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from service.confinement.broker import ConnectionBroker
from service.sources.address_policy import AddressPolicy
from service.subscriptions.notify_protocol import Notice, NotifyAnswer, NotifyRequest
from service.subscriptions.target import DeliveryFailedError

MAX_PROCESSES = 16
"""Processes at a time, of about 60 MB each. Those of hanging targets end after `SEND_WITHIN_S`, and backoff makes them
rare.
"""
SEND_WITHIN_S = 60.0
"""From the start of the process, which takes a while on a busy machine."""
MISSING = "This server cannot notify people, since it lacks the extra `apprise`. Its operator installs it with pip."
_FORBIDDEN = "source_forbidden"
_log = structlog.get_logger(__name__)


class NotificationsUnavailableError(Exception):
    """The optional library is not installed."""


class AddressUnusableError(Exception):
    """The library cannot use the address of a service: a part is missing, or malformed."""


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a notification."""

    name: str
    media_type: str
    data: bytes


class Notifier:
    """`authorities` is a PEM file of all certificate authorities to trust."""

    def __init__(self, policy: AddressPolicy, authorities: Path) -> None:
        self._policy = policy
        self._authorities = authorities
        self._places = asyncio.Semaphore(MAX_PROCESSES)

    async def check(self, url: str) -> None:
        """Connects nowhere. Raises NotificationsUnavailableError, AddressUnusableError, DeliveryFailedError."""
        if not is_available():
            raise NotificationsUnavailableError
        answer = await self._ask(NotifyRequest(url, None), b"")
        if not answer.is_valid:
            raise AddressUnusableError
        if answer.failure is not None:
            raise DeliveryFailedError(answer.failure)

    async def send(self, url: str, notice: Notice, attachment: Attachment | None) -> None:
        """Return once the service has accepted the notification. Raises DeliveryFailedError."""
        if not is_available():
            raise DeliveryFailedError(MISSING)
        request = NotifyRequest(url, notice)
        if attachment is not None:
            named = (attachment.name, attachment.media_type)
            request = replace(request, attachment=named, attachment_bytes=len(attachment.data))
        answer = await self._ask(request, b"" if attachment is None else attachment.data)
        if not answer.is_valid:
            raise DeliveryFailedError("the address is not valid")
        if answer.failure is not None:
            raise DeliveryFailedError(answer.failure)

    async def _ask(self, request: NotifyRequest, data: bytes) -> NotifyAnswer:
        """Raises DeliveryFailedError."""
        async with self._places:
            ours, its = socket.socketpair()
            with its:
                broker = ConnectionBroker(self._policy, ours)
                broker.start()
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "service.subscriptions.notify_child"),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "MALLOC_ARENA_MAX": "1"},
                    pass_fds=[its.fileno()],
                )
                sent = replace(
                    request, authorities=str(self._authorities), parent_pid=os.getpid(), channel_fd=its.fileno()
                )
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    answered, _ = await process.communicate(sent.to_json().encode() + b"\n" + data)
            except TimeoutError:
                raise DeliveryFailedError(f"no answer within {SEND_WITHIN_S:.0f} s") from None
            finally:
                await _end(process)
                await asyncio.to_thread(broker.join)
        return _judged(answered, broker)


def is_available() -> bool:
    """Whether the optional library is installed."""
    return importlib.util.find_spec("apprise") is not None


def _judged(answered: bytes, broker: ConnectionBroker) -> NotifyAnswer:
    """Raises DeliveryFailedError."""
    if not answered:
        raise DeliveryFailedError("the process that sends it has died")
    answer = NotifyAnswer.from_json(answered)
    if answer.traceback is not None:
        _log.error("a notification failed unexpectedly", traceback=answer.traceback)
    if answer.failure is not None and broker.refused:
        # For the operator only: callers could learn what names resolve to inside this network.
        _log.warning("a notification led to addresses that are not permitted", addresses=broker.refused)
        raise DeliveryFailedError(_FORBIDDEN)
    return answer


async def _end(process: Process) -> None:
    if process.returncode is None:
        # Not Process.kill: that would reap a child that has just died behind asyncio's back.
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    await process.wait()
