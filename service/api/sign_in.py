"""Routes for signing in and out on the page through an identity provider. Served only if one is configured."""

import base64
import json
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from service.access.keys import ApiKey, Person
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.origin import check_host_header, check_own_page
from service.api.people import People
from service.errors import NoRoleError, NotFoundError, ServiceError, UnauthorizedError
from service.identity.claims import TokenRejectedError
from service.identity.provider import Attempt, IdentityProvider, ProviderUnavailableError
from service.settings import Settings

ATTEMPT_S = 600
"""How long a person may take at the provider."""
MAX_VIEW = 500
router = APIRouter(include_in_schema=False)
_log = structlog.get_logger(__name__)


async def _people(context: SharedContext) -> People:
    if context.people is None or context.people.provider is None:
        raise NotFoundError("This server has no identity provider. Use an API key.")
    return context.people


SharedPeople = Annotated[People, Depends(_people)]


@router.get("/sign-in")
async def begin(
    request: Request,
    context: SharedContext,
    people: SharedPeople,
    view: Annotated[str, Query(max_length=MAX_VIEW)] = "",
) -> Response:
    """Send the browser to the provider. `view` is the fragment of the page to return to."""
    _check_host(request, context)
    attempt = Attempt.begin()
    try:
        url = await _provider(people).sign_in_url(
            attempt, redirect_uri=_redirect_uri(context), scopes=" ".join(context.settings.oidc_scopes)
        )
    except ProviderUnavailableError as error:
        return _failed(context, "unavailable", error)
    response = RedirectResponse(url, 303)
    kept = base64.urlsafe_b64encode(json.dumps({**asdict(attempt), "view": view}).encode()).decode()
    _set_cookie(response, context.settings, f"{people.cookie}-attempt", kept, ATTEMPT_S)
    return response


@router.get("/sign-in/return")
async def finish(
    request: Request,
    context: SharedContext,
    people: SharedPeople,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4096)] = "",
    iss: Annotated[str | None, Query(max_length=500)] = None,
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Where the provider sends the browser back to."""
    _check_host(request, context)
    response = await _finish(request, context, people, state, code, iss, error)
    _set_cookie(response, context.settings, f"{people.cookie}-attempt", "", 0)
    return response


async def _finish(
    request: Request, context: Context, people: People, state: str, code: str, iss: str | None, error: str
) -> Response:
    attempt, view = _attempt_of(request, people)
    if attempt is None or not attempt.is_answered_by(state):
        return _failed(context, "expired", "the answer does not belong to a sign-in of this browser")
    provider = _provider(people)
    try:
        await provider.require_issuer(iss)
        if error or not code:
            return _failed(context, "denied", f"the provider says {error or 'nothing'}")
        claims = await provider.redeem(code, attempt, redirect_uri=_redirect_uri(context))
        person = Person(issuer=provider.issuer, subject=claims.subject)
        secret, key = await people.sign_in(person, claims.name, claims.groups or frozenset())
    except TokenRejectedError as rejected:
        return _failed(context, "rejected", rejected)
    except ProviderUnavailableError as unavailable:
        return _failed(context, "unavailable", unavailable)
    except NoRoleError as refused:
        return _failed(context, "no_role", refused)
    except UnauthorizedError as refused:
        return _failed(context, "revoked", refused)
    except ServiceError as unavailable:
        return _failed(context, "unavailable", unavailable)
    await people.sign_out(request)
    context.audit.record("person.sign_in", _caller(request, key).actor)
    response = RedirectResponse(f"{context.settings.public_url}/{view}", 303)
    _set_cookie(response, context.settings, people.cookie, secret, round(context.settings.sign_in_s))
    return response


@router.post("/sign-out")
async def sign_out(request: Request, context: SharedContext, people: SharedPeople) -> Response:
    """End the sign-in of this browser. The response says where the browser can end its session at the provider, too."""
    _check_host(request, context)
    check_own_page(request, context.settings.public_url, must_name_origin=True)
    key = await people.sign_out(request)
    if key is not None:
        context.audit.record("person.sign_out", _caller(request, key).actor)
    try:
        url = await _provider(people).sign_out_url(f"{context.settings.public_url}/")
    except ProviderUnavailableError as error:
        _log.warning("the identity provider cannot be notified of a sign-out", reason=str(error))
        url = None
    response = JSONResponse({"url": url})
    _set_cookie(response, context.settings, people.cookie, "", 0)
    return response


def _provider(people: People) -> IdentityProvider:
    assert people.provider is not None  # `_people` has checked it
    return people.provider


def _check_host(request: Request, context: Context) -> None:
    if context.settings.allowed_hosts:
        check_host_header(request, context.settings.allowed_hosts)


def _redirect_uri(context: Context) -> str:
    return f"{context.settings.public_url}/sign-in/return"


def _attempt_of(request: Request, people: People) -> tuple[Attempt | None, str]:
    """The sign-in that this browser has begun, and the view to return to."""
    try:
        kept = json.loads(base64.urlsafe_b64decode(request.cookies[f"{people.cookie}-attempt"]))
        view = str(kept["view"])[:MAX_VIEW]
        attempt = Attempt(str(kept["state"]), str(kept["nonce"]), str(kept["verifier"]))
    except (KeyError, ValueError, TypeError):
        return None, ""
    # Only a fragment: nothing in it leads to another site.
    return attempt, view if view.startswith("#") and view.isascii() and view.isprintable() else ""


def _failed(context: Context, reason: str, why: object) -> Response:
    """Back to the page, which explains `reason`."""
    _log.info("a sign-in failed", reason=reason, why=str(why))
    return RedirectResponse(f"{context.settings.public_url}/?{urlencode({'sign-in': reason})}", 303)


def _caller(request: Request, key: ApiKey) -> Caller:
    return Caller(key, address="" if request.client is None else request.client.host)


def _set_cookie(response: Response, settings: Settings, name: str, value: str, max_age_s: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=max_age_s,
        path=settings.root_path or "/",
        secure=(settings.public_url or "").startswith("https://"),
        httponly=True,
        # Lax, since the provider sends the browser back with a link from its own site.
        samesite="lax",
    )
    response.headers["Cache-Control"] = "no-store"
