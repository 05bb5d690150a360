"""Images of one clip: several figures among clutter, from above or from eye level, through one fixed camera."""

from dataclasses import replace

import numpy as np
import pybullet
from numpy.typing import NDArray

from model.training.fights.people import gather
from model.training.mocap.backdrop import Backdrop
from model.training.mocap.camera import PinholeCamera, unit, wobble
from model.training.mocap.figure import dress_figure
from model.training.mocap.motion import MOTION_HZ, Recordings
from model.training.mocap.scene import Lens, Light, shoot
from model.training.mocap.skeleton import link_poses

_HEIGHT_M, _MIDDLE_M = 1.6, 0.8
_NOBODY_J3 = np.full((15, 3), [50.0, 0.0, 50.0])


def render_fight(
    rng: np.random.Generator, recordings: Recordings, *, fight: bool, frames: int, width: int, height: int, fps: int
) -> NDArray[np.uint8]:
    """RGB (frames, height, width, 3) as the lens sees it; everything is drawn from `rng`."""
    client = pybullet.connect(pybullet.DIRECT)
    try:
        return _render(client, rng, recordings, fight, frames, width, height, fps)
    finally:
        pybullet.disconnect(client)


def _render(
    client: int,
    rng: np.random.Generator,
    recordings: Recordings,
    fight: bool,
    frames: int,
    width: int,
    height: int,
    fps: int,
) -> NDArray[np.uint8]:
    shown_T = (np.arange(frames) * (MOTION_HZ / fps)).astype(int)
    figures = []
    for motion in gather(rng, recordings, int(frames / fps * MOTION_HZ) + 2, fight=fight):
        scale = float(rng.uniform(0.85, 1.15))
        joints_TJ3, rotations_TL4 = link_poses(motion.root_T3[shown_T], motion.rotations_TL4[shown_T])
        figures.append((dress_figure(client, rng, scale), joints_TJ3 * scale, rotations_TL4))
    _add_clutter(client, rng)
    camera = _hang_camera(rng, frames, fps)
    if width != height:  # people in wide frames are rarely in the middle
        camera = replace(
            camera, aspect=width / height, shift_2=(float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.15, 0.15)))
        )
    backdrop = Backdrop(rng, camera, width, height)
    light, lens = Light.drawn(rng), Lens.drawn(rng, width, height)
    images = []
    for index in range(frames):
        for figure, joints_TJ3, rotations_TL4 in figures:
            figure.pose(joints_TJ3[index], rotations_TL4[index])
        rgb, bodies = shoot(client, camera, index, width, height, light)
        shadow_J3 = figures[0][1][index] if figures else _NOBODY_J3
        behind = backdrop.draw(camera.eye_T3[index], camera.axes_T33[index], shadow_J3, light.direction_3)
        images.append(lens.expose(rng, np.where(bodies >= 0, rgb.transpose(2, 0, 1), behind)))
    return np.stack(images)


def _hang_camera(rng: np.random.Generator, frames: int, fps: int) -> PinholeCamera:
    """High up or at eye level; a person fills a fifth to most of the frame's height. A few cameras shake."""
    share = np.exp(rng.uniform(np.log(0.2), np.log(0.85)))
    tan_half_fov = float(np.tan(np.radians(rng.uniform(35, 75)) / 2))
    distance_m = _HEIGHT_M / share / (2 * tan_half_fov)
    rise_m = rng.uniform(1.4, 5.0) - _MIDDLE_M
    if abs(rise_m) > 0.85 * distance_m:
        rise_m = 0.85 * distance_m * np.sign(rise_m)
    level_m = np.sqrt(max(distance_m**2 - rise_m**2, 0.01))
    azimuth_rad = rng.uniform(0, 2 * np.pi)
    aside_m = rng.normal(0, 0.12 / share * _HEIGHT_M * 0.35, 2)
    target_3 = np.array([aside_m[0], _MIDDLE_M, aside_m[1]])
    eye_3 = target_3 + np.array([level_m * np.cos(azimuth_rad), rise_m, level_m * np.sin(azimuth_rad)])
    shake = rng.uniform(0.01, 0.04) / share * 0.3 if rng.random() < 0.15 else 0.0
    target_T3 = target_3 + shake * wobble(rng, np.arange(frames) / fps, 3)
    eye_T3 = np.broadcast_to(eye_3, (frames, 3))
    back_T3 = unit(eye_T3 - target_T3)
    right_T3 = unit(np.cross([0.0, 1.0, 0.0], back_T3))
    up_T3 = np.cross(back_T3, right_T3)
    roll_rad = rng.normal(0, 0.03)
    cos, sin = np.cos(roll_rad), np.sin(roll_rad)
    axes_T33 = np.stack([cos * right_T3 + sin * up_T3, cos * up_T3 - sin * right_T3, back_T3], 1)
    return PinholeCamera(eye_T3, axes_T33, tan_half_fov)


def _add_clutter(client: int, rng: np.random.Generator) -> None:
    """Up to eight boxes that represent furniture, cars and walls."""
    for _ in range(int(rng.integers(0, 9))):
        away_m, angle_rad = rng.uniform(0.8, 5), rng.uniform(0, 2 * np.pi)
        half_3 = np.exp(rng.uniform(np.log(0.1), np.log(0.9), 3))
        half_3[1] = min(half_3[1], rng.choice((0.3, 0.5, 1.0, 1.4)))
        rgba = (*rng.uniform(0.05, 1, 3).tolist(), 1.0)
        visual = pybullet.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=half_3.tolist(), rgbaColor=rgba, physicsClientId=client
        )
        body = pybullet.createMultiBody(0, -1, visual, physicsClientId=client)
        place = (float(away_m * np.cos(angle_rad)), float(half_3[1]), float(away_m * np.sin(angle_rad)))
        turned = pybullet.getQuaternionFromEuler((0, float(rng.uniform(0, 3)), 0))
        pybullet.resetBasePositionAndOrientation(body, place, turned, physicsClientId=client)
