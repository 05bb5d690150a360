"""The camera of one stream: static, following, panning, orbiting or hand-held."""

from dataclasses import dataclass, replace

import numpy as np

from model.training.mocap.quaternions import Array

_KINDS = ("static", "static", "pan", "follow", "orbit", "hand", "hand_follow")
_TOO_FAR = 0.62  # part of the frame's height that a standing figure must fill at least


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera's places (T, 3) in metres and axes (T, 3, 3), in rows right, up and back.

    `tan_half_fov` spans half the frame's height, `aspect` is width / height. `shift_2` moves the image by that much to
    the right and down, in image coordinates: the optical axis then meets the frame off its centre.
    """

    eye_T3: Array
    axes_T33: Array
    tan_half_fov: float
    aspect: float = 1.0
    shift_2: tuple[float, float] = (0.0, 0.0)

    def project(self, points_TJ3: Array) -> Array:
        """Image coordinates (T, J, 2): x to the right, y down, -1 to 1 inside the image."""
        seen_TJ3 = np.einsum("tij,tkj->tki", self.axes_T33, points_TJ3 - self.eye_T3[:, None])
        depth_TJ1 = np.maximum(-seen_TJ3[..., 2:], 0.05)
        scale_2 = np.array([1.0 / self.aspect, -1.0])
        image_TJ2: Array = seen_TJ3[..., :2] * scale_2 / (depth_TJ1 * self.tan_half_fov) + np.array(self.shift_2)
        return image_TJ2


def aim_camera(
    rng: np.random.Generator, joints_TJ3: Array, height_m: float, rate_hz: float, aspect: float = 1.0
) -> PinholeCamera:
    """A camera that keeps a figure `height_m` tall, with `joints_TJ3` at each frame, in the frame.

    In a square frame the figure fills most of the height and stands near the middle. In others it has many sizes and
    stands anywhere, now and then cut off by the frame's edge.
    """
    kind = str(rng.choice(_KINDS))
    tan_half_fov = float(np.tan(np.radians(rng.uniform(40, 60)) / 2))
    largest_share = rng.uniform(0.68, 0.92)
    smallest_share = _TOO_FAR
    if aspect != 1.0:
        smallest_share = 0.28
        largest_share = rng.uniform(smallest_share, 0.92)
    frame_m = height_m / largest_share
    shape = _Shape.drawn(rng, kind, len(joints_TJ3), rate_hz)
    root_T3 = joints_TJ3[:, 0] * np.array([1.0, 0.0, 1.0])
    while True:
        camera = _look(shape, root_T3, frame_m / (2 * tan_half_fov), tan_half_fov, height_m, rate_hz)
        outside = np.abs(camera.project(joints_TJ3)).max(axis=(1, 2)) > 0.97
        if outside.mean() < 0.04 or height_m / frame_m < smallest_share:
            break
        frame_m *= 1.06
    return camera if aspect == 1.0 else _moved_aside(rng, replace(camera, aspect=aspect), joints_TJ3)


def _moved_aside(rng: np.random.Generator, camera: PinholeCamera, joints_TJ3: Array) -> PinholeCamera:
    """The camera with its image shifted so that the figure's whole path lies anywhere in the frame."""
    image_TJ2 = camera.project(joints_TJ3)
    low_2, high_2 = np.quantile(image_TJ2.reshape(-1, 2), [0.02, 0.98], axis=0)
    spill = 0.15 if rng.random() < 0.2 else 0.0
    room_2 = np.maximum([1.0, 1.0] - (high_2 - low_2) / 2 + spill, 0.0)
    x, y = rng.uniform(-room_2, room_2) - (low_2 + high_2) / 2
    return replace(camera, shift_2=(float(x), float(y)))


@dataclass(frozen=True)
class _Shape:
    """A camera's movement, apart from its distance."""

    azimuth_T: Array
    eye_height_m: float
    follow_lag_s: float
    aim_lag_s: float
    shake_T3: Array
    roll_T: Array

    @classmethod
    def drawn(cls, rng: np.random.Generator, kind: str, frames: int, rate_hz: float) -> "_Shape":
        time_s = np.arange(frames) / rate_hz
        azimuth_T = np.full(frames, rng.uniform(0, 2 * np.pi))
        if kind == "orbit":
            speed = rng.choice([-1, 1]) * rng.uniform(0.04, 0.25)
            azimuth_T = azimuth_T + speed * time_s + 0.2 * np.sin(time_s * rng.uniform(0.1, 0.5))
        shake = rng.uniform(0.01, 0.05) if kind.startswith("hand") else 0.0
        return cls(
            azimuth_T=azimuth_T,
            eye_height_m=rng.uniform(0.6, 2.2),
            follow_lag_s=rng.uniform(0.2, 0.8) if kind in ("follow", "hand_follow") else np.inf,
            aim_lag_s=rng.uniform(0.3, 1.0) if kind == "pan" else np.inf,
            shake_T3=shake * wobble(rng, time_s, 3),
            roll_T=0.5 * shake * wobble(rng, time_s, 1)[:, 0] + rng.normal(0, 0.02),
        )


def _look(
    shape: _Shape, root_T3: Array, distance_m: float, tan_half_fov: float, height_m: float, rate_hz: float
) -> PinholeCamera:
    low, high = root_T3.min(axis=0), root_T3.max(axis=0)
    middle = (low + high) / 2
    centre_T3 = _lagged(root_T3, shape.follow_lag_s, rate_hz, middle)
    target_T3 = centre_T3 + _lagged(root_T3 - centre_T3, shape.aim_lag_s, rate_hz, np.zeros(3))
    target_T3 = target_T3 + np.array([0.0, height_m * 0.48, 0.0]) + shape.shake_T3
    drop_m = shape.eye_height_m - height_m * 0.48
    level_m = np.sqrt(max(distance_m**2 - drop_m**2, (0.8 * distance_m) ** 2))
    away_T3 = np.stack([np.cos(shape.azimuth_T), np.zeros(len(root_T3)), np.sin(shape.azimuth_T)], axis=1)
    eye_T3 = centre_T3 + level_m * away_T3 + np.array([0.0, shape.eye_height_m, 0.0]) + 0.5 * shape.shake_T3
    back_T3 = unit(eye_T3 - target_T3)
    right_T3 = unit(np.cross([0.0, 1.0, 0.0], back_T3))
    up_T3 = np.cross(back_T3, right_T3)
    cos_T1, sin_T1 = np.cos(shape.roll_T)[:, None], np.sin(shape.roll_T)[:, None]
    axes_T33 = np.stack([cos_T1 * right_T3 + sin_T1 * up_T3, cos_T1 * up_T3 - sin_T1 * right_T3, back_T3], axis=1)
    return PinholeCamera(eye_T3, axes_T33, tan_half_fov)


def _lagged(path_T3: Array, lag_s: float, rate_hz: float, still_3: Array) -> Array:
    """The path smoothed by a camera operator's lag; an infinite lag stands at `still_3`."""
    if np.isinf(lag_s):
        return np.broadcast_to(still_3, path_T3.shape)
    keep = np.exp(-1 / (lag_s * rate_hz))
    smooth_T3 = np.empty_like(path_T3)
    state = path_T3[0]
    for frame, place in enumerate(path_T3):
        state = keep * state + (1 - keep) * place
        smooth_T3[frame] = state
    return smooth_T3


def wobble(rng: np.random.Generator, time_s: Array, channels: int) -> Array:
    """Smooth noise (T, channels) of about unit size: a slow sway and a faster tremble."""
    rate_hz = np.concatenate([rng.uniform(0.1, 0.6, (3, channels)), rng.uniform(1.0, 3.0, (2, channels))])
    size = np.array([1.0, 0.8, 0.6, 0.35, 0.25])[:, None]
    phase = rng.uniform(0, 2 * np.pi, rate_hz.shape)
    waves: Array = (size * np.sin(2 * np.pi * rate_hz * time_s[:, None, None] + phase)).sum(axis=1)
    return waves


def unit(vectors_T3: Array) -> Array:
    """The vectors (T, 3), scaled to length 1."""
    direction: Array = vectors_T3 / np.linalg.norm(vectors_T3, axis=-1, keepdims=True)
    return direction
