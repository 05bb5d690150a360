"""Tickets, with which browsers open streams and play videos: they cannot send an API key there."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from starlette.responses import Response

from service.access.keys import digest, new_key_secret
from service.api.authentication import EventsReader, video_digest
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.server_schemas import Ticket, VideoTicket

TICKET_VALID = timedelta(seconds=30)
VIDEO_TICKET_VALID = timedelta(hours=1)
router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))


@router.post(
    "/v1/tickets",
    summary="Create a ticket that opens one WebSocket or event stream within 30 s, as `?ticket=`",
    status_code=201,
    responses=problem_responses(503, 507),
)
async def create_ticket(context: SharedContext, caller: EventsReader, response: Response) -> Ticket:
    """While authentication is off, any ticket is accepted and none is required."""
    now = datetime.now(UTC)
    ticket = Ticket(ticket=new_key_secret(), expires_at=now + TICKET_VALID)
    if caller.key is not None:
        await context.store.keys.add_ticket(digest(ticket.ticket), caller.key.id, now=now, expires_at=ticket.expires_at)
    response.headers["Cache-Control"] = "no-store"
    return ticket


async def new_video_ticket(context: Context, caller: Caller, session_id: str) -> VideoTicket:
    """A ticket with which `get_viewer` accepts requests for the video of this session. Raises ServiceError."""
    now = datetime.now(UTC)
    ticket = VideoTicket(ticket=new_key_secret(), expires_at=now + VIDEO_TICKET_VALID)
    if caller.key is not None:
        known_as = video_digest(session_id, ticket.ticket)
        await context.store.keys.add_ticket(known_as, caller.key.id, now=now, expires_at=ticket.expires_at)
    return ticket
