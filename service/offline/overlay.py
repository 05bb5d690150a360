"""Writes a copy of a video with the detector's scores and starts drawn on every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.config import BACKGROUND
from model.thresholds import ActionStart
from model.video.file_reader import open_video
from model.video.frame import Frame
from model.video.media_time import SAME_TIME_S
from model.video.preprocess import Region
from model.video.writer import VideoWriter
from service.offline.detect import Analysed

SHOWN_LABELS, SHOWN_STARTS = 5, 3
START_SHOWN_S = 2.0
DEFAULT_RATE_HZ = 25.0  # for a video that declares no frame rate
SHADE, BAR, ALERT, TEXT = (0, 0, 0, 150), (90, 170, 255, 255), (230, 60, 40, 230), (255, 255, 255, 255)


class Overlay:
    """Draws on the original frames of a stream of `source`, at their own size and times, and writes them to `path`.

    It opens the source a second time, since the detector's frames are small and few. A context manager: leaving it
    also draws the frames after the last analysed one, unless there was an error. Raises VideoError, VideoWriteError.
    """

    def __init__(
        self, source: str, stream: int | None, path: Path, labels: Sequence[str], regions: Mapping[str, Region]
    ) -> None:
        self._labels, self._regions = labels, regions
        self._video = open_video(source, stream=stream)
        info = self._video.info
        try:
            self._writer = VideoWriter(path, info.width, info.height, info.rate_hz or DEFAULT_RATE_HZ)
        except BaseException:
            # Also when interrupted: nothing else closes the video yet.
            self._video.close()
            raise
        self._frames = self._video.frames()
        self._waiting: Frame | None = None
        self._scores: dict[str | None, NDArray[np.float32]] = {None: np.zeros(len(labels), np.float32)}
        self._starts: list[tuple[str | None, ActionStart]] = []
        self._font = ImageFont.load_default(size=max(8, min(info.width, info.height) // 26))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._video, self._writer:
            if kind is None:
                self._draw_before(float("inf"))

    def show(self, analysed: Analysed) -> None:
        """Show the scores and starts of this frame from its time on."""
        self._draw_before(analysed.pts_s)
        self._scores[analysed.region] = analysed.scores_K
        self._starts += [(analysed.region, event) for event in analysed.events if isinstance(event, ActionStart)]

    def _draw_before(self, pts_s: float) -> None:
        while (frame := self._waiting or next(self._frames, None)) is not None:
            if frame.pts_s >= pts_s - SAME_TIME_S:
                self._waiting = frame
                return
            self._waiting = None
            self._writer.write(self._drawn(frame), frame.pts_s)

    def _drawn(self, frame: Frame) -> NDArray[np.uint8]:
        self._starts = [shown for shown in self._starts if frame.pts_s < shown[1].decided_s + START_SHOWN_S]
        image = Image.fromarray(frame.image)
        draw = ImageDraw.Draw(image, "RGBA")
        self._draw_regions(draw, image.width, image.height)
        self._draw_scores(draw, image.height)
        self._draw_starts(draw, image.width)
        return np.asarray(image)

    def _draw_regions(self, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
        """Draw the outline and the name of each region."""
        for name, region in self._regions.items():
            left, top, wide, high = region.pixels(width, height)
            draw.rectangle((left, top, left + wide - 1, top + high - 1), outline=BAR, width=max(1, height // 240))
            draw.text((left + self._row() // 4, top + high - self._row()), name, BAR, self._font)

    def _draw_scores(self, draw: ImageDraw.ImageDraw, height: int) -> None:
        """Draw the highest scores of any region as bars, at the lower left."""
        scores_K = np.max(list(self._scores.values()), axis=0)
        actions = [i for i, label in enumerate(self._labels) if label != BACKGROUND]
        shown = sorted(actions, key=lambda i: -scores_K[i])[:SHOWN_LABELS]
        row, gap = self._row(), self._row() // 4
        names = max((draw.textlength(self._labels[i], self._font) for i in actions), default=0.0)
        left, top, bar = 2 * gap + names, height - gap - row * len(shown), 5.0 * row
        draw.rectangle((0, top - gap, left + bar + gap, height), fill=SHADE)
        for line, i in enumerate(shown):
            y = top + line * row
            draw.text((gap, y), self._labels[i], TEXT, self._font)
            draw.rectangle((left, y, left + bar * float(scores_K[i]), y + row - gap), fill=BAR)

    def _draw_starts(self, draw: ImageDraw.ImageDraw, width: int) -> None:
        """Draw a banner for each recent start, the newest on top."""
        row, gap = self._row(), self._row() // 4
        for line, (region, start) in enumerate(reversed(self._starts[-SHOWN_STARTS:])):
            what = start.label if region is None else f"{start.label} in {region}"
            y = line * (row + 2 * gap)
            draw.rectangle((0, y, width, y + row + gap), fill=ALERT)
            draw.text((gap, y + gap / 2), f"{what} started at {start.start_s:.1f} s", TEXT, self._font)

    def _row(self) -> int:
        return round(self._font.size * 1.35) if isinstance(self._font, ImageFont.FreeTypeFont) else 12
