"""Tickets: how a browser, which can send no header there, opens a WebSocket or an EventSource."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from starlette.responses import Response

from service.access.keys import digest, new_secret
from service.api.caller import EventsReader
from service.api.context import SharedContext
from service.api.problems import ASKS, problems
from service.schemas import Ticket

VALID = timedelta(seconds=30)
router = APIRouter(tags=["events"], responses=problems(*ASKS))


@router.post(
    "/v1/tickets",
    summary="A ticket that opens one WebSocket or event stream within 30 s, as `?ticket=`",
    status_code=201,
    responses=problems(503, 507),
)
async def create_ticket(context: SharedContext, caller: EventsReader, response: Response) -> Ticket:
    """While keys are off any ticket will do, and nobody needs one."""
    now = datetime.now(UTC)
    ticket = Ticket(ticket=new_secret(), expires_at=now + VALID)
    if caller.key is not None:
        await context.store.add_ticket(digest(ticket.ticket), caller.key.id, now=now, expires_at=ticket.expires_at)
    response.headers["Cache-Control"] = "no-store"
    return ticket
