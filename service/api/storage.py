"""How much disk space the uploads take, and when sessions are deleted."""

from fastapi import APIRouter
from pydantic import Field

from service.api.authentication import SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.schemas import Schema

router = APIRouter(tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


class Storage(Schema):
    """The space that uploads take."""

    stored_bytes: int = Field(
        description="Size of the uploads of the caller's sessions; if the caller sees all sessions, snapshots and "
        "clips are included."
    )
    quota_bytes: int | None = Field(description="Storage quota of the API key; null if the caller sees all sessions.")
    free_bytes: int | None = Field(
        description="Free space on the disk of the server's data folder; null unless the caller sees all sessions."
    )
    keep_ended_s: float | None = Field(
        description="Age at which ended sessions are deleted, in seconds; null if they are kept."
    )


@router.get("/v1/storage", summary="Get how much space uploads take", responses=problem_responses(503))
async def get_storage(context: SharedContext, caller: SessionsReader) -> Storage:
    keep_ended_s = context.settings.keep_ended_s or None
    if caller.key is not None and caller.owner is not None:
        used, quota_bytes = await context.store.keys.usage(caller.owner), caller.key.limits.max_stored_bytes
        return Storage(
            stored_bytes=used.stored_bytes, quota_bytes=quota_bytes, free_bytes=None, keep_ended_s=keep_ended_s
        )
    return Storage(
        stored_bytes=await context.stored.size_bytes(),
        quota_bytes=None,
        free_bytes=context.disk.free_bytes(),
        keep_ended_s=keep_ended_s,
    )
