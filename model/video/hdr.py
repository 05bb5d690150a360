"""Tone mapping of small HDR images to the range that networks and screens expect.

HDR video stores light as PQ (SMPTE ST 2084) or HLG (ARIB STD-B67) with BT.2020 colours; shown as if it were SDR, it is
grey. Mapping the small image instead of the decoded frame costs little.
"""

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

# AVCOL_TRC_SMPTE2084 and AVCOL_TRC_ARIB_STD_B67 in FFmpeg.
PQ, HLG = 16, 18
# Light of a white surface in HDR video (ITU-R BT.2408), in cd/m2.
WHITE_CD_M2 = 203.0
# Up to this share of white, light is kept; brighter highlights are compressed.
KNEE = 0.8
GAMMA = 2.2
# As a share of white; brighter light is shown as this.
BRIGHTEST = 4.0
# Linear light of BT.2020 to that of BT.709 (ITU-R BT.2087).
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def is_hdr(frame: VideoFrame) -> bool:
    """Return whether a frame needs tone mapping."""
    return frame.color_trc in _LIGHT


def tone_mapped(image_HWC: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """Return an RGB image made from `frame` in the SDR range; unchanged if the frame is not HDR."""
    light = _LIGHT.get(frame.color_trc)
    if light is None:
        return image_HWC
    light_HWC = np.clip(light[image_HWC] @ TO_BT709.T, 0.0, BRIGHTEST)
    np.sqrt(light_HWC, out=light_HWC)
    light_HWC *= (len(_SHOWN) - 1) / BRIGHTEST**0.5
    shown_HWC: NDArray[np.uint8] = np.take(_SHOWN, light_HWC.astype(np.int32))
    return shown_HWC


def _shown() -> NDArray[np.uint8]:
    """SDR codes for light from 0 to BRIGHTEST, evenly spaced in its square root, where eyes see equal steps."""
    light = BRIGHTEST * np.linspace(0, 1, 4096) ** 2
    highlights = KNEE + (1 - KNEE) * (1 - np.exp(-(light - KNEE) / (1 - KNEE)))
    shown = 255 * np.where(light <= KNEE, light, highlights) ** (1 / GAMMA)
    return np.asarray(np.round(shown), np.uint8)


def _pq_light() -> NDArray[np.float32]:
    """Light of each 8-bit code, as a share of white."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (np.arange(256) / 255) ** (1 / m2)
    return (10_000 / WHITE_CD_M2 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)).astype(np.float32)


def _hlg_light() -> NDArray[np.float32]:
    """Light of each 8-bit code on a screen of 1000 cd/m2, as a share of white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.arange(256) / 255
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return (1000 / WHITE_CD_M2 * scene**1.2).astype(np.float32)


_SHOWN = _shown()
_LIGHT = {PQ: _pq_light(), HLG: _hlg_light()}
