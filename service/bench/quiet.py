"""Studies for which streams it suffices to decode a camera only while something moves:
`python -m service.bench.quiet SAMPLE`.

SAMPLE is a video of a camera that does not move, such as samples/people.mp4: the moving figure is taken from it.
Further arguments select the streams whose names contain all of them. Prints a table in Markdown.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from model.video.file_reader import open_video
from model.video.preprocess import FrameInput
from model.video.quiet_gate import MOVING_LEVELS, largest_change
from service.bench.quiet_reading import ReadRecording, read
from service.bench.still_camera import (
    HEIGHT,
    WIDTH,
    X264,
    Light,
    still_images,
    write_openh264_stream,
    write_still_stream,
)

DURATION_S, LEARNT_S = 130.0, 45.0
# Not synchronous with keyframes, which come every 2 s.
MOVES = [(float(at_s), at_s + 2.0) for at_s in (5.3, 13.7, 22.1, 30.9, 52.3, 63.7, 74.5, 85.1, 96.9, 107.3, 118.5)]
SOON_S = 0.2
# Smaller differences are noise from the sample's own compression.
FIGURE_LEVELS = 18
X265 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "x265-params": "crf=28:keyint=20:bframes=0:open-gop=0:pools=none:frame-threads=1:log-level=none",
}
VERYFAST = {**X264, "preset": "veryfast", "crf": "26"}
CBR = {**{name: value for name, value in X264.items() if name != "crf"}, "maxrate": "150k", "bufsize": "15k"}
# The same number of bits per pixel as 720p30 at 3 Mbit/s, with a buffer of 1 s and of 0.2 s.
USUAL_CBR = {**CBR, "maxrate": "25k", "bufsize": "25k"}
TIGHT_CBR = {**CBR, "maxrate": "25k", "bufsize": "5k"}

OPENH264 = "openh264"


@dataclass(frozen=True)
class Case:
    """A stream to study; `figure` is the size of the moving figure relative to that in the sample."""

    name: str
    encoder: str = "libx264"
    options: Mapping[str, str] = field(default_factory=lambda: X264)
    bit_rate: int | None = None
    noise: float = 1.0
    light: Light = "steady"
    figure: float = 1.0


CASES = (
    Case("x264 CRF 28, noise 0.5", noise=0.5),
    Case("x264 CRF 28, noise 1"),
    Case("x264 CRF 28, noise 2", noise=2.0),
    Case("x264 CRF 23, noise 0.5", options={**X264, "crf": "23"}, noise=0.5),
    Case("x264 CRF 23, noise 1", options={**X264, "crf": "23"}),
    Case("x264 CRF 23, noise 2", options={**X264, "crf": "23"}, noise=2.0),
    Case("x264 veryfast CRF 26, noise 1", options=VERYFAST),
    Case("x264 CBR 150 kbit/s, noise 0.5", options=CBR, bit_rate=150_000, noise=0.5),
    Case("x264 CBR 150 kbit/s, noise 1", options=CBR, bit_rate=150_000),
    Case("x264 CBR 25 kbit/s, noise 1", options=USUAL_CBR, bit_rate=25_000),
    Case("x264 CBR 25 kbit/s, noise 2", options=USUAL_CBR, bit_rate=25_000, noise=2.0),
    Case("x264 CBR 25 kbit/s, tight, noise 1", options=TIGHT_CBR, bit_rate=25_000),
    Case("x265 CRF 28, noise 0.5", "libx265", X265, noise=0.5),
    Case("x265 CRF 28, noise 1", "libx265", X265),
    Case("openh264 QP 30, noise 0.5", OPENH264, {"qp": "30"}, noise=0.5),
    Case("openh264 QP 30, noise 1", OPENH264, {"qp": "30"}),
    Case("openh264 150 kbit/s, noise 1", OPENH264, bit_rate=150_000),
    Case("x264 CRF 28, noise 0.5, small distant figure", noise=0.5, figure=0.25),
    Case("x264 CRF 28, noise 1, small distant figure", figure=0.25),
    Case("x264 CRF 28, noise 1, flicker", light="flicker"),
    Case("x264 CRF 28, noise 1, dusk", light="dusk"),
    Case("x264 CRF 28, noise 1, slow shadow", light="shadow"),
)


def main() -> None:
    """Study all cases, one after the other."""
    figures = figures_of(Path(sys.argv[1]))
    chosen = [case for case in CASES if all(word in case.name for word in sys.argv[2:])]
    write = sys.stdout.write
    write("| stream | in the end | decoded while still | motions seen within 0.2 s | later | not at all | misses |\n")
    write("| --- | --- | --- | --- | --- | --- | --- |\n")
    with TemporaryDirectory() as folder:
        for case in chosen:
            write(_row(case, Path(folder) / "stream.ts", figures) + "\n")
            sys.stdout.flush()


def figures_of(sample: Path) -> NDArray[np.float32]:
    """The differences (N, HEIGHT, WIDTH) between moving frames of the first half minute and still ones."""
    with open_video(sample) as video:
        frames = [frame.image for frame in video.frames(20.0, FrameInput(HEIGHT, "stretch")) if frame.pts_s < 30]
    grey = np.stack(frames).mean(3, dtype=np.float32)
    difference = grey - np.median(grey[::8], axis=0)
    difference[np.abs(difference) < FIGURE_LEVELS] = 0
    left = (WIDTH - HEIGHT) // 2
    return np.pad(difference, ((0, 0), (0, 0), (left, WIDTH - HEIGHT - left))).astype(np.float32)


def _row(case: Case, path: Path, figures: NDArray[np.float32]) -> str:
    images = still_images(DURATION_S, MOVES, noise=case.noise, light=case.light, figures=_scaled(figures, case.figure))
    if case.encoder == OPENH264:
        write_openh264_stream(path, images, _openh264(case))
    else:
        write_still_stream(path, images, case.encoder, case.options, bit_rate=case.bit_rate)
    seen, every = read(path, quiet=True), read(path, quiet=False)
    moving = np.zeros(len(every.images), bool)
    moving[1:] = [largest_change(*pair) > MOVING_LEVELS for pair in zip(every.images, every.images[1:], strict=False)]
    tested = [move for move in MOVES if move[0] > LEARNT_S]
    delays_s = [_delay_s(seen, moving, *move) for move in tested]
    # Frames are decoded for some seconds after each motion.
    is_still = np.logical_and.reduce([(seen.times_s < begin) | (seen.times_s > end + 4) for begin, end in MOVES])
    decoded = 1 - seen.repeats[is_still & (seen.times_s > LEARNT_S)].mean()
    soon, late = sum(delay_s <= SOON_S for delay_s in delays_s), sum(SOON_S < delay_s < np.inf for delay_s in delays_s)
    counts = f"{soon} | {late} | {len(delays_s) - soon - late} | {seen.misses}"
    return f"| {case.name} | `{seen.decoding}` | {100 * decoded:.0f} % | {counts} |"


def _openh264(case: Case) -> str:
    """The properties of the encoder: a constant bit rate or a constant quantiser."""
    if case.bit_rate is not None:
        return f"gop-size=20 rate-control=bitrate bitrate={case.bit_rate}"
    quantiser = case.options["qp"]
    return f"gop-size=20 rate-control=off qp-min={quantiser} qp-max={quantiser}"


def _delay_s(seen: ReadRecording, moving: NDArray[np.bool_], begin_s: float, end_s: float) -> float:
    """How long after the first visible change a frame was decoded; infinite if none was until the motion ended."""
    within = (seen.times_s >= begin_s) & (seen.times_s < end_s)
    changes = seen.times_s[within & moving]
    if not changes.size:
        return 0.0
    decoded = seen.times_s[within & ~seen.repeats & (seen.times_s >= changes[0])]
    return float(decoded[0] - changes[0]) if decoded.size else float("inf")


def _scaled(figures: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Shrink the figures, in the middle of the frame."""
    step = round(1 / share)
    small = figures[:, ::step, ::step]
    top, left = (HEIGHT - small.shape[1]) // 2, (WIDTH - small.shape[2]) // 2
    scaled = np.zeros_like(figures)
    scaled[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return scaled


if __name__ == "__main__":
    main()
