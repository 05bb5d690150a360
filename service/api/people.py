"""People: how a request says who sends it, and the key that then stands for this person."""

import math
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from starlette.requests import HTTPConnection

from service.access.keys import ApiKey, Person, digest, key_of_person, new_key_secret
from service.access.rate import KeyUses
from service.api.origin import check_own_page, is_in
from service.api.peer import PEER
from service.errors import IdentityUnavailableError, NoRoleError, ServiceError, UnauthorizedError
from service.identity.roles import Role, read_roles, role_of
from service.settings import Settings
from service.store.protocols import Store

if TYPE_CHECKING:
    from service.identity.provider import IdentityProvider

BY_PROXY = "proxy"
"""Issuer of the people that a proxy has authenticated."""
MAX_GROUPS = 1000
OF_ROLE = ("name", "scopes", "limits", "metadata")
"""Fields of a person's key that are always those of the person's role, and name."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identified:
    """A person, and for how long this is certain."""

    key: ApiKey
    sign_in: str | None = None
    """Digest of the sign-in; None if a header or token says who it is."""
    valid_until: datetime | None = None


class People:
    """Identifies people by the headers of a proxy, by the cookie of a sign-in, or by a token of the provider."""

    def __init__(
        self, settings: Settings, store: Store, key_uses: KeyUses, provider: "IdentityProvider | None"
    ) -> None:
        """Raises RolesUnusableError."""
        self._settings = settings
        self._store = store
        self._key_uses = key_uses
        self._roles: tuple[Role, ...] = read_roles(settings.roles) if settings.roles else ()
        self.provider = provider
        self.cookie = _cookie_name(settings)

    async def identify(self, connection: HTTPConnection, token: str | None) -> Identified | None:
        """The person who sends a request; None if it does not name one. `token` is its bearer token.

        Raises UnauthorizedError, NoRoleError, OriginForbiddenError, IdentityUnavailableError, StoreUnavailableError.
        """
        named = self._named_by_proxy(connection)
        if named is not None:
            check_own_page(connection, self._settings.public_url, must_name_origin=False)
            person = Person(issuer=BY_PROXY, subject=named)
            return Identified(await self._key_of(person, named[:100], self._groups_by_proxy(connection)))
        if token is not None:
            return await self._holder_of(token)
        return await self._signed_in(connection)

    async def sign_in(self, person: Person, name: str, groups: Collection[str]) -> tuple[str, ApiKey]:
        """A new value of the cookie, and the person's key. Raises UnauthorizedError, NoRoleError, ServiceError."""
        key = await self._key_of(person, name, groups)
        secret, now = new_key_secret(), datetime.now(UTC)
        expires_at = now + timedelta(seconds=self._settings.sign_in_s)
        await self._store.keys.add_ticket(sign_in_digest(secret), key.id, now=now, expires_at=expires_at)
        return secret, key

    async def sign_out(self, connection: HTTPConnection) -> ApiKey | None:
        """Forget the sign-in of a browser, and return the person's key; None if nobody was signed in."""
        secret = connection.cookies.get(self.cookie)
        if secret is None:
            return None
        key_id = await self._store.keys.redeem_ticket(sign_in_digest(secret), now=datetime.now(UTC))
        return None if key_id is None else await self._store.keys.find(key_id)

    async def is_signed_in(self, sign_in: str, key_id: str) -> bool:
        """Whether a sign-in still holds."""
        return await self._store.keys.find_ticket(sign_in, now=datetime.now(UTC)) == key_id

    def _named_by_proxy(self, connection: HTTPConnection) -> str | None:
        """The person whom a trusted proxy names. Raises UnauthorizedError."""
        if not is_in(connection.scope.get(PEER), self._settings.identity_proxies):
            return None
        names = connection.headers.getlist(self._settings.identity_user_header)
        if len(names) > 1 or any(not name.strip() or len(name) > 255 for name in names):
            raise UnauthorizedError(
                f"The proxy must send {self._settings.identity_user_header} once, with a name of at most 255"
                " characters, and remove what clients send."
            )
        return names[0].strip() if names else None

    def _groups_by_proxy(self, connection: HTTPConnection) -> frozenset[str]:
        listed = connection.headers.getlist(self._settings.identity_groups_header)
        if len(listed) > 1:
            raise UnauthorizedError(
                f"The proxy must send {self._settings.identity_groups_header} once, and remove what clients send."
            )
        groups = [group.strip() for group in ",".join(listed).split(",", MAX_GROUPS)[:MAX_GROUPS]]
        return frozenset(filter(None, groups))

    async def _holder_of(self, token: str) -> Identified | None:
        """The person to whom an access token belongs."""
        audience = self._settings.oidc_audience
        if self.provider is None or audience is None:
            return None
        from service.identity.claims import TokenRejectedError
        from service.identity.provider import ProviderUnavailableError

        try:
            claims, expires_s = await self.provider.holder_of(token, audience=audience)
        except TokenRejectedError as error:
            _log.info("an access token was refused", reason=str(error))
            raise UnauthorizedError(
                f"The token is neither an API key nor a valid access token of {self._settings.oidc_issuer} for the"
                f" audience {audience}. Get a new one."
            ) from error
        except ProviderUnavailableError as error:
            _log.warning("an access token could not be checked", reason=str(error))
            raise IdentityUnavailableError(
                "The identity provider does not answer, so access tokens cannot be checked. Retry later, or send"
                " an API key.",
                retry_after_s=math.ceil(10),
            ) from error
        person = Person(issuer=self.provider.issuer, subject=claims.subject)
        key = await self._key_of(person, claims.name, claims.groups or frozenset())
        return Identified(key, valid_until=datetime.fromtimestamp(expires_s, UTC))

    async def _signed_in(self, connection: HTTPConnection) -> Identified | None:
        """The person to whom a cookie belongs."""
        secret = connection.cookies.get(self.cookie)
        if self.provider is None or secret is None:
            return None
        check_own_page(connection, self._settings.public_url, must_name_origin=True)
        sign_in = sign_in_digest(secret)
        key_id = await self._store.keys.find_ticket(sign_in, now=datetime.now(UTC))
        key = None if key_id is None else await self._store.keys.find(key_id)
        if key is None or not key.is_active(datetime.now(UTC)):
            return None
        await self._note_used(key)
        return Identified(key, sign_in=sign_in)

    async def _key_of(self, person: Person, name: str, groups: Collection[str]) -> ApiKey:
        """The key of a person with these groups, as it is stored then."""
        role = role_of(groups, self._roles)
        if role is None:
            raise NoRoleError(
                f"{name} has no role on this server. Ask the operator to add one of your groups to CAKE_ROLES."
            )
        limits = role.limits(self._settings.key_limits)
        now = datetime.now(UTC)
        wanted = key_of_person(person, name, role.scopes, limits, created_at=now, metadata=role.metadata)
        key = await self._store.keys.find(wanted.id) or await self._store.keys.admit(wanted)
        if key.person == person and _follows_role(key) != _follows_role(wanted):
            key = await self._follow_role(key, wanted)
        # An id has 64 bits. However unlikely a collision is, a person must not get someone else's key.
        if key.person != person or not key.is_active(datetime.now(UTC)):
            raise UnauthorizedError(f"The access of {name} was revoked. Ask the operator.")
        await self._note_used(key)
        return key

    async def _follow_role(self, key: ApiKey, wanted: ApiKey) -> ApiKey:
        update = {field: getattr(wanted, field) for field in OF_ROLE}
        changed = await self._store.keys.change(key.id, lambda stored: stored.model_copy(update=update))
        if changed.sight != key.sight:
            # They would deliver events that the person may no longer see.
            await self._store.subscriptions.disable_all_of(key.id)
        return changed

    async def _note_used(self, key: ApiKey) -> None:
        if self._key_uses.is_due(key.id, time.monotonic()):
            with suppress(ServiceError):
                await self._store.keys.note_used(key.id, now=datetime.now(UTC))


def _follows_role(key: ApiKey) -> list[object]:
    return [getattr(key, field) for field in OF_ROLE]


def sign_in_digest(secret: str) -> str:
    """Sign-ins are stored like tickets, under another digest: neither is accepted in place of the other."""
    return digest(f"sign-in {secret}")


def _cookie_name(settings: Settings) -> str:
    """Browsers only accept the prefixes with the attributes that they stand for, so nobody else can set the cookie."""
    if not (settings.public_url or "").startswith("https://"):
        return "cake"
    return "__Secure-cake" if settings.root_path else "__Host-cake"
