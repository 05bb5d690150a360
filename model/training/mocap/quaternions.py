"""Unit quaternions as numpy arrays (..., 4) in x, y, z, w order; y is up."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_CONJUGATE = np.array([-1.0, -1.0, -1.0, 1.0])


def multiply(a: Array, b: Array) -> Array:
    """Rotation `b` followed by rotation `a`; broadcasts over leading dimensions."""
    ax, ay, az, aw = (a[..., part] for part in range(4))
    bx, by, bz, bw = (b[..., part] for part in range(4))
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )


def inverse(q: Array) -> Array:
    """The inverse rotation."""
    back: Array = q * _CONJUGATE
    return back


def rotate(q: Array, v: Array) -> Array:
    """Vectors (..., 3) rotated by the quaternions `q` (..., 4)."""
    twice = 2 * _cross(q, v)
    turned: Array = v + q[..., 3:] * twice + _cross(q, twice)
    return turned


def _cross(a: Array, b: Array) -> Array:
    """Cross product of the first three components; numpy's own is many times slower on small arrays."""
    ax, ay, az = (a[..., part] for part in range(3))
    bx, by, bz = (b[..., part] for part in range(3))
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def from_rotvec(v: Array) -> Array:
    """The quaternions (..., 4) of rotation vectors (..., 3) in radians."""
    half = np.sqrt((v**2).sum(axis=-1, keepdims=True)) / 2
    return np.concatenate([v * np.sinc(half / np.pi) / 2, np.cos(half)], axis=-1)


def to_rotvec(q: Array) -> Array:
    """The rotation vectors (..., 3) of quaternions, of at most pi radians."""
    return _log(np.where(q[..., 3:] < 0, -q, q))


def _log(q: Array) -> Array:
    """Rotation vectors of up to 2 pi radians: q and -q turn in opposite directions."""
    sine = np.sqrt((q[..., :3] ** 2).sum(axis=-1, keepdims=True))
    angle = 2 * np.arctan2(sine, q[..., 3:])
    vector: Array = q[..., :3] * (angle / np.maximum(sine, 1e-12))
    return vector


def slerp(a: Array, b: Array, weight: Array) -> Array:
    """The rotation from `a` (weight 0) to `b` (weight 1), the short way; the weight broadcasts against (..., 1)."""
    return multiply(from_rotvec(to_rotvec(multiply(b, inverse(a))) * weight), a)


def crossfade(a_TL4: Array, b_TL4: Array, weight_T11: Array) -> Array:
    """From sequence `a` to sequence `b`, going the same way round at every time.

    The short way at the start is kept, so that nothing flips when the two pass 180 degrees of each other.
    """
    apart_TL4 = multiply(b_TL4, inverse(a_TL4))
    apart_TL4[0] = np.where(apart_TL4[0, :, 3:] < 0, -apart_TL4[0], apart_TL4[0])
    turned_over = (apart_TL4[1:] * apart_TL4[:-1]).sum(axis=-1, keepdims=True) < 0
    apart_TL4[1:] *= np.cumprod(np.where(turned_over, -1, 1), axis=0)
    return multiply(from_rotvec(_log(apart_TL4) * weight_T11), a_TL4)


def about_y(angle: Array) -> Array:
    """The quaternions (..., 4) of turns by `angle` radians (...) about the vertical."""
    zero = np.zeros_like(angle)
    return np.stack([zero, np.sin(angle / 2), zero, np.cos(angle / 2)], axis=-1)


def heading(q: Array) -> Array:
    """The part of a rotation that turns about the vertical, in radians within +-pi."""
    angle = 2 * np.arctan2(q[..., 1], q[..., 3])
    wrapped: Array = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped
