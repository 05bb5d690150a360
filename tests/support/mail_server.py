"""An SMTP server on a port of 127.0.0.1 that keeps the mails it gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mailbox:
    """The mails that came, oldest first. Only `user` with `password` may send."""

    user: str = "cake"
    password: str = "hunter2"
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if not session.authenticated:
            return "530 Authentication required"
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword
    ) -> AuthResult:
        is_known = login == LoginPassword(self.user.encode(), self.password.encode())
        return AuthResult(success=is_known, handled=is_known)


@contextmanager
def mail_server(mailbox: Mailbox, port: int) -> Iterator[None]:
    """It takes mails for `mailbox` until the context ends."""
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        authenticator=mailbox.authenticate,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield
    finally:
        controller.stop()
