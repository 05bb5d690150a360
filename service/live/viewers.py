"""The viewers of one session, in its worker: each gets the same video and scores from the moment it joins.

Messages for viewers are described in `service.live_schemas`.
"""

import asyncio
import socket
import time
from collections.abc import Sequence

from service.decoder.video_messages import LiveVideoMessage, NoVideo, VideoBegins, VideoFragment
from service.live.viewer import Viewer
from service.live_schemas import LiveScores, RegionScores, VideoBegan, VideoUnavailable
from service.store.records import ScoreRow

MAX_VIEWERS = 16
"""Of one session at a time."""
SCORES_EVERY_S = 0.25
MAX_GROUP_BYTES = 8 * 1024**2
"""Kept since the last keyframe for new viewers; if there is more, they wait for the next keyframe."""
CLOSE_WITHIN_S = 2.0


class Viewers:
    """The viewers of one session.

    Args:
        regions: the names of the session's regions, or None for the whole frame, in the order of the scores.
    """

    def __init__(self, regions: Sequence[str | None]) -> None:
        self._regions = regions
        self._sending: dict[Viewer, asyncio.Task[None]] = {}
        self._state: VideoBegan | VideoUnavailable | None = None
        self._head = b""
        self._group: list[VideoFragment] = []
        self._group_bytes = 0
        self._seen_s: float | None = None
        """Media time of the newest scores."""
        self._scores_after_s: float | None = None
        self._rows: list[tuple[float, Sequence[float]]] = []
        self._scores_due_s = 0.0

    def want_video(self) -> bool:
        """Whether a viewer wants video. The decoder gets this value, and ends the video when no viewer wants it."""
        wanted = any(viewer.wants_video for viewer in self._sending)
        if not wanted:
            self._forget_video()
        return wanted

    def admit(self, connection: socket.socket, *, wants_video: bool) -> bool:
        """Send to a new viewer from now on, unless there are MAX_VIEWERS; in that case the caller keeps the
        connection.
        """
        if len(self._sending) >= MAX_VIEWERS:
            return False
        viewer = Viewer(connection, wants_video=wants_video)
        task = asyncio.create_task(viewer.send_all())
        self._sending[viewer] = task
        task.add_done_callback(lambda _: self._sending.pop(viewer, None))
        self._welcome(viewer)
        return True

    def take(self, video: LiveVideoMessage) -> None:
        """Pass on what the decoder has sent."""
        match video:
            case VideoBegins():
                self._begin(video)
            case VideoFragment():
                self._pass_on(video)
            case NoVideo():
                self._forget_video()
                self._state = VideoUnavailable(reason=video.reason)
                for viewer in self._sending:
                    self._welcome(viewer)

    def add_scores(self, pts_s: float, scores: Sequence[float]) -> None:
        """Pass on the scores of the next frame, of one region after the other; several frames at a time."""
        before_s, self._seen_s = self._seen_s, pts_s
        if not self._sending:
            self._rows = []
            return
        if not self._rows:
            self._scores_after_s = before_s
        self._rows.append((pts_s, scores))
        now_s = time.monotonic()
        if now_s < self._scores_due_s:
            return
        self._scores_due_s = now_s + SCORES_EVERY_S
        text = self._scores_message()
        for viewer in self._sending:
            viewer.put_text(text)
        self._rows = []

    async def close(self) -> None:
        """End all connections. Idempotent."""
        for viewer in self._sending:
            viewer.close()
        if tasks := set(self._sending.values()):
            _, late = await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _welcome(self, viewer: Viewer) -> None:
        """Send the current state: that there is no video, or its beginning and everything since the last keyframe."""
        match self._state:
            case VideoUnavailable() if viewer.wants_video:
                viewer.put_text(self._state.model_dump_json())
            case VideoBegan():
                viewer.begin(self._state.model_dump_json(), self._head)
                for part in self._group:
                    viewer.put_part(part)

    def _begin(self, video: VideoBegins) -> None:
        self._forget_video()
        self._state = VideoBegan(media_type=video.media_type, width=video.width, height=video.height)
        self._head = video.head
        for viewer in self._sending:
            self._welcome(viewer)

    def _pass_on(self, part: VideoFragment) -> None:
        if not isinstance(self._state, VideoBegan):
            return
        self._keep(part)
        for viewer in self._sending:
            viewer.put_part(part)

    def _keep(self, part: VideoFragment) -> None:
        if part.is_start:
            self._group, self._group_bytes = [], 0
        elif not self._group:
            return
        self._group.append(part)
        self._group_bytes += len(part.data)
        if self._group_bytes > MAX_GROUP_BYTES:
            self._group, self._group_bytes = [], 0

    def _forget_video(self) -> None:
        self._state, self._head = None, b""
        self._group, self._group_bytes = [], 0

    def _scores_message(self) -> str:
        count = len(self._regions)
        rows = [ScoreRow(pts_s, [round(score, 4) for score in scores]) for pts_s, scores in self._rows]
        regions = [
            RegionScores(region=name, scores=[list(row.of_stream(number, count)) for row in rows])
            for number, name in enumerate(self._regions)
        ]
        pts_s = [row.pts_s for row in rows]
        return LiveScores(after_s=self._scores_after_s, pts_s=pts_s, regions=regions).model_dump_json()
