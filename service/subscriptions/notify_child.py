"""The child process that sends one notification with Apprise, confined as a decoder is.

Apprise knows a hundred services, and connects wherever the addresses of callers lead. Here it connects only through the
parent, to addresses that the policy permits, reads no file but its own, and starts no program.
"""

import logging
import mimetypes
import os
import re
import signal
import sys
import traceback
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import apprise
from apprise.attachment.memory import AttachMemory
from apprise.result import AppriseResult, AppriseResultStatus

from service.confinement.confine import die_with_parent, limit_resources, restrict_network, restrict_reading
from service.confinement.system_calls import ConfinementUnavailableError
from service.subscriptions.notify_protocol import MAX_BYTES, MAX_CPU_S, Notice, NotifyAnswer, NotifyRequest

NOT_CONFINED = (
    "This server cannot confine what sends notifications, which requires Linux 5.14 or newer with seccomp and Landlock."
)
UNEXPECTED = "An unexpected error occurred. See the server's log."
NOT_ACCEPTED = "not accepted"
ANSWER_WITHIN_S = 20.0
# How Apprise reports the status of an answer; the rest of its messages may hold what must not be shown.
_STATUS = re.compile(r"error=([1-5][0-9]{2})\b")


class _Statuses(logging.Handler):
    """The HTTP statuses in the messages of Apprise, newest last."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found += map(int, _STATUS.findall(record.getMessage()))


def run_notifier(request: NotifyRequest, attachment: bytes) -> NotifyAnswer:
    """Confine this process, and send."""
    try:
        # It reads files of the system, once.
        mimetypes.init()
        limit_resources(max_bytes=MAX_BYTES, max_cpu_s=MAX_CPU_S)
        if not restrict_reading([Path(request.authorities)]):
            raise ConfinementUnavailableError("the kernel has no Landlock")
        restrict_network(request.channel_fd)
        return _send(request, attachment)
    except ConfinementUnavailableError:
        return NotifyAnswer(True, NOT_CONFINED, traceback.format_exc())
    except Exception as error:
        # Log only where it was raised: its text may contain the address.
        place = "".join(traceback.format_tb(error.__traceback__))
        return NotifyAnswer(True, UNEXPECTED, f"{place}{type(error).__name__}")


def _send(request: NotifyRequest, attachment: bytes) -> NotifyAnswer:
    statuses = _Statuses()
    library_log = logging.getLogger("apprise")
    library_log.addHandler(statuses)
    library_log.propagate = False
    asset = apprise.AppriseAsset(
        app_id="CAKE", app_desc="CAKE", async_mode=False, service_timeout=ANSWER_WITHIN_S, secure_logging=True
    )
    # Not by `add`, which takes text for a list of addresses, of which only the first would have been checked.
    recipient = apprise.Apprise.instantiate(request.url, asset=asset)
    if recipient is None:
        return NotifyAnswer(False)
    service = apprise.Apprise(recipient, asset=asset)
    if request.notice is None:
        return NotifyAnswer(True)
    attached = None
    if request.attachment is not None:
        name, media_type = request.attachment
        file = AttachMemory(content=attachment, name=name, mimetype=media_type)  # type: ignore[no-untyped-call]
        attached = apprise.AppriseAttachment(file)
    result = _notify(service, request.notice, attached)
    if attached is not None and result.status == AppriseResultStatus.FAILURE:
        # The event must not be lost if the service does not accept the file.
        result = _notify(service, request.notice, None)
    if result.status == AppriseResultStatus.TIMEOUT:
        return NotifyAnswer(True, f"no answer within {ANSWER_WITHIN_S:.0f} s")
    return NotifyAnswer(True, None if result else _failure(statuses.found))


def _notify(service: apprise.Apprise, notice: Notice, attached: apprise.AppriseAttachment | None) -> AppriseResult:
    kind = apprise.NotifyType.FAILURE if notice.is_failure else apprise.NotifyType.INFO
    if notice.is_urgent:
        kind = apprise.NotifyType.WARNING
    text = apprise.NotifyFormat.TEXT
    return service.notify(notice.body, title=notice.title, notify_type=kind, body_format=text, attach=attached)


def _failure(statuses: list[int]) -> str:
    if not statuses:
        return NOT_ACCEPTED
    try:
        return f"{statuses[-1]} {HTTPStatus(statuses[-1]).phrase}"
    except ValueError:
        return str(statuses[-1])


def main() -> None:
    """Entry of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source: BinaryIO = sys.stdin.buffer
    request = NotifyRequest.from_json(source.readline())
    attachment = source.read(request.attachment_bytes)
    die_with_parent(request.parent_pid)
    # Only the answer may reach the pipe: what a library prints to stdout goes to stderr.
    pipe_fd = os.dup(1)
    os.dup2(2, 1)
    # What the libraries of HTTP and of mail read.
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = request.authorities
    with os.fdopen(pipe_fd, "w") as pipe:
        pipe.write(run_notifier(request, attachment).to_json())
    # Without waiting for the thread of a service that does not answer.
    os._exit(0)


if __name__ == "__main__":
    main()
