"""Degrades images like a cheap camera and its recorder: little colour, few pixels, blocks, doubled and blended frames,
text in the image, black borders.

Shapes: T frames, H x W pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
_CHARACTERS = tuple("0123456789:/-CAMH ")


def record(rng: np.random.Generator, images_THW3: Images) -> Images:
    """The clip as such a recorder would store it, same shape."""
    recorded_THW3 = _compressed(rng, _with_less_colour(rng, images_THW3))
    height = recorded_THW3.shape[1]
    if rng.random() < 0.3:
        text = "".join(rng.choice(_CHARACTERS, 12))
        place = (int(rng.integers(2, 40)), int(rng.choice((14, height - 6))))
        for image in recorded_THW3:
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.3, (255, 255, 255), 1)
    if rng.random() < 0.15:
        recorded_THW3[:, : int(rng.uniform(0.03, 0.15) * height)] = 0
    return recorded_THW3


def _with_less_colour(rng: np.random.Generator, images_THW3: Images) -> Images:
    if rng.random() < 0.35:
        grey_THW3: Images = np.repeat(images_THW3.mean(3, keepdims=True).astype(np.uint8), 3, 3)
        return grey_THW3
    if rng.random() < 0.7:
        grey_THW1 = images_THW3.mean(3, keepdims=True)
        paler_THW3: Images = (grey_THW1 + (images_THW3 - grey_THW1) * rng.uniform(0.15, 0.9)).astype(np.uint8)
        return paler_THW3
    return images_THW3


def _compressed(rng: np.random.Generator, images_THW3: Images) -> Images:
    height, width = images_THW3.shape[1:3]
    share = rng.uniform(0.45, 1) if rng.random() < 0.6 else 1.0
    small = (int(share * width), int(share * height))
    quality, repeats = int(rng.uniform(18, 80)), rng.random() < 0.2
    ghosting = rng.uniform(0, 0.4) if rng.random() < 0.3 else 0
    recorded: list[Images] = []
    shown = images_THW3[0]
    for index, image in enumerate(images_THW3):
        if not (repeats and index and rng.random() < 0.4):
            shown = image
        reduced = cv2.resize(shown, small, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", reduced, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.resize(
            np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), (width, height), interpolation=cv2.INTER_LINEAR
        )
        if ghosting and recorded:
            decoded = cv2.addWeighted(decoded, 1 - ghosting, recorded[-1], ghosting, 0)
        recorded.append(np.asarray(decoded, np.uint8))
    return np.stack(recorded)
