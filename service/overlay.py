"""A video with the detector's scores and the starts it announced drawn on every picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.config import BACKGROUND
from model.starts import ActionStart
from model.video import Frame, open_video
from service.detect import Analysed
from service.video_writer import VideoWriter

SHOWN_LABELS, SHOWN_STARTS = 5, 3
START_SHOWN_S = 2.0
STATED_RATE_HZ = 25.0  # where the video itself states none
SHADE, BAR, ALERT, TEXT = (0, 0, 0, 150), (90, 170, 255, 255), (230, 60, 40, 230), (255, 255, 255, 255)


class Overlay:
    """Draws on the original pictures of `source`, at their own size and times, and writes them to `path`.

    It opens the source a second time: the detector's pictures are small and few. A context manager; leaving it draws
    the pictures after the last analysed frame too, unless an error came first. Raises VideoError, VideoWriteError.
    """

    def __init__(self, source: str, path: Path, labels: Sequence[str]) -> None:
        self._labels = labels
        self._video = open_video(source)
        info = self._video.info
        try:
            self._writer = VideoWriter(path, info.width, info.height, info.rate_hz or STATED_RATE_HZ)
        except BaseException:
            # Also when interrupted: nobody else holds the video yet.
            self._video.close()
            raise
        self._pictures = self._video.frames()
        self._waiting: Frame | None = None
        self._scores_K: NDArray[np.float32] = np.zeros(len(labels), np.float32)
        self._starts: list[ActionStart] = []
        self._font = ImageFont.load_default(size=max(8, min(info.width, info.height) // 26))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._video, self._writer:
            if kind is None:
                self._draw_before(float("inf"))

    def show(self, analysed: Analysed) -> None:
        """From the picture of this frame on, show its scores and what it started."""
        self._draw_before(analysed.pts_s)
        self._scores_K = analysed.scores_K
        self._starts += [event for event in analysed.events if isinstance(event, ActionStart)]

    def _draw_before(self, pts_s: float) -> None:
        while (picture := self._waiting or next(self._pictures, None)) is not None:
            if picture.pts_s >= pts_s - 1e-6:
                self._waiting = picture
                return
            self._waiting = None
            self._writer.write(self._drawn(picture), picture.pts_s)

    def _drawn(self, picture: Frame) -> NDArray[np.uint8]:
        self._starts = [start for start in self._starts if picture.pts_s < start.decided_s + START_SHOWN_S]
        image = Image.fromarray(picture.image)
        draw = ImageDraw.Draw(image, "RGBA")
        self._draw_scores(draw, image.height)
        self._draw_starts(draw, image.width)
        return np.asarray(image)

    def _draw_scores(self, draw: ImageDraw.ImageDraw, height: int) -> None:
        """The highest scores as bars, lower left."""
        actions = [i for i, label in enumerate(self._labels) if label != BACKGROUND]
        shown = sorted(actions, key=lambda i: -self._scores_K[i])[:SHOWN_LABELS]
        row, gap = self._row(), self._row() // 4
        names = max((draw.textlength(self._labels[i], self._font) for i in actions), default=0.0)
        left, top, bar = 2 * gap + names, height - gap - row * len(shown), 5.0 * row
        draw.rectangle((0, top - gap, left + bar + gap, height), fill=SHADE)
        for line, i in enumerate(shown):
            y = top + line * row
            draw.text((gap, y), self._labels[i], TEXT, self._font)
            draw.rectangle((left, y, left + bar * float(self._scores_K[i]), y + row - gap), fill=BAR)

    def _draw_starts(self, draw: ImageDraw.ImageDraw, width: int) -> None:
        """A banner for each action that started within the last seconds, the newest on top."""
        row, gap = self._row(), self._row() // 4
        for line, start in enumerate(reversed(self._starts[-SHOWN_STARTS:])):
            y = line * (row + 2 * gap)
            draw.rectangle((0, y, width, y + row + gap), fill=ALERT)
            draw.text((gap, y + gap / 2), f"{start.label} started at {start.start_s:.1f} s", TEXT, self._font)

    def _row(self) -> int:
        return round(self._font.size * 1.35) if isinstance(self._font, ImageFont.FreeTypeFont) else 12
