"""The route that tells the page who is using it, and how to sign in."""

from fastapi import APIRouter
from starlette.requests import Request

from service.api.authentication import caller_if_known
from service.api.context import SharedContext
from service.api.error_responses import problem_responses
from service.errors import UnauthorizedError
from service.key_schemas import Identity

router = APIRouter(tags=["keys"])


@router.get(
    "/v1/identity",
    summary="Get who sends the request",
    description="Answers without a key, too: then `kind` is null.",
    responses=problem_responses(403, 429, 503),
)
async def get_identity(request: Request, context: SharedContext) -> Identity:
    signs_in = context.people is not None and context.people.provider is not None
    sign_in = "sign-in" if signs_in else None
    try:
        caller = await caller_if_known(request, context)
    except UnauthorizedError:
        return Identity(kind=None, id=None, name=None, scopes=[], metadata=None, sign_in=sign_in, sign_out=None)
    key = caller.key
    if key is None:
        return Identity(kind="anyone", id=None, name=None, scopes=[], metadata=None, sign_in=None, sign_out=None)
    return Identity(
        kind="key" if key.person is None else "person",
        id=key.id,
        name=key.name,
        scopes=sorted(key.scopes),
        metadata=key.metadata,
        sign_in=sign_in,
        sign_out="sign-out" if caller.sign_in is not None else None,
    )
