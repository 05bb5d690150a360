"""Feedback in Redis: a hash of each session, by the id of the feedback."""

from functools import partial

from service.feedback import Feedback
from service.store.reading import parse_feedback
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import unknown_session


class RedisFeedback:
    """Implements `service.store.protocols.FeedbackOfSessions`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def put(self, session_id: str, feedback: Feedback, *, max_kept: int) -> bool:
        status = await self._scripts.run("put_feedback", session_id, feedback.id, feedback.model_dump_json(), max_kept)
        if status == b"unknown":
            raise unknown_session()
        return bool(status == b"done")

    async def delete(self, session_id: str, feedback_id: str) -> None:
        await self._scripts.run("delete_feedback", session_id, feedback_id)

    async def of_session(self, session_id: str) -> list[Feedback]:
        rows = await translated(self._scripts.client.hgetall(name_of("feedback", session_id)))
        read = self._scripts.reader.read
        found = [read("feedback", id_of(key), partial(parse_feedback, record)) for key, record in rows.items()]
        return sorted((each for each in found if each is not None), key=lambda each: (each.start_s, each.id))
