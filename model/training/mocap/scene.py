"""One stream's images: figure and distractors drawn by pybullet before a backdrop, through an imperfect camera."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pybullet
from numpy.typing import NDArray

from model.training.mocap.backdrop import Backdrop
from model.training.mocap.camera import PinholeCamera, aim_camera
from model.training.mocap.figure import dress_figure
from model.training.mocap.motion import MOTION_HZ, Motion
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import link_poses

_HEIGHT_M = 1.6  # of the unscaled figure
PositionAt = Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True)
class RenderedFrame:
    """RGB uint8 (H, W, 3); where the figure is visible, bool (H, W); image coordinates of the 15 joints, -1 to 1."""

    image: NDArray[np.uint8]
    figure: NDArray[np.bool_]
    joints_J2: Array


def render_stream(
    rng: np.random.Generator, motion: Motion, *, width: int, height: int, fps: int
) -> Iterator[RenderedFrame]:
    """The stream's images at times 0, 1 / fps, ...; everything but the motion is drawn from `rng`."""
    client = pybullet.connect(pybullet.DIRECT)
    try:
        yield from _render(client, rng, motion, width, height, fps)
    finally:
        pybullet.disconnect(client)


def _render(
    client: int, rng: np.random.Generator, motion: Motion, width: int, height: int, fps: int
) -> Iterator[RenderedFrame]:
    scale = float(rng.uniform(0.85, 1.15))
    frames = (np.arange(int(len(motion) / MOTION_HZ * fps)) * (MOTION_HZ / fps)).astype(int)
    joints_TJ3, rotations_TL4 = link_poses(motion.root_T3[frames], motion.rotations_TL4[frames])
    joints_TJ3 = joints_TJ3 * scale
    camera = aim_camera(rng, joints_TJ3, _HEIGHT_M * scale, fps, width / height)
    image_TJ2 = camera.project(joints_TJ3)
    figure = dress_figure(client, rng, scale)
    distractors = [_distractor(client, rng) for _ in range(rng.integers(0, 4))]
    backdrop = Backdrop(rng, camera, width, height)
    light, lens = Light.drawn(rng), Lens.drawn(rng, width, height)
    for index in range(len(frames)):
        figure.pose(joints_TJ3[index], rotations_TL4[index])
        for body, place in distractors:
            pybullet.resetBasePositionAndOrientation(body, place(index / fps), (0, 0, 0, 1), physicsClientId=client)
        rgb, bodies = shoot(client, camera, index, width, height, light)
        image = backdrop.draw(camera.eye_T3[index], camera.axes_T33[index], joints_TJ3[index], light.direction_3)
        image = np.where(bodies >= 0, rgb.transpose(2, 0, 1), image)
        seen = (bodies >= figure.bodies[0]) & (bodies <= figure.bodies[-1])
        yield RenderedFrame(lens.expose(rng, image), seen, image_TJ2[index])


@dataclass(frozen=True)
class Light:
    """A directional light. The other fields are factors of the renderer's shading."""

    direction_3: Array
    colour: tuple[float, float, float]
    ambient: float
    diffuse: float
    specular: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Light":
        """A random light from above."""
        azimuth, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
        colour = rng.uniform(0.8, 1.0, 3)
        return cls(
            direction_3=np.array([slope * np.cos(azimuth), 1.0, slope * np.sin(azimuth)]),
            colour=(float(colour[0]), float(colour[1]), float(colour[2])),
            ambient=rng.uniform(0.35, 0.65),
            diffuse=rng.uniform(0.35, 0.7),
            specular=rng.uniform(0.0, 0.2),
        )


def shoot(
    client: int, camera: PinholeCamera, index: int, width: int, height: int, light: Light
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The image (H, W, 3), RGB of 0 to 255, that the camera sees at the frame `index`, and the id of the body that each
    pixel shows (H, W), -1 where there is none.
    """
    eye, axes = camera.eye_T3[index], camera.axes_T33[index]
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = axes, -axes @ eye
    near, far, focal = 0.1, 40.0, 1 / camera.tan_half_fov
    lens = np.array(
        [
            [focal / camera.aspect, 0, -camera.shift_2[0], 0],
            [0, focal, camera.shift_2[1], 0],
            [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)],
            [0, 0, -1, 0],
        ]
    )
    _, _, rgba, _, bodies = pybullet.getCameraImage(
        width,
        height,
        view.T.ravel().tolist(),
        lens.T.ravel().tolist(),
        lightDirection=(light.direction_3 * 5).tolist(),
        lightColor=light.colour,
        lightAmbientCoeff=light.ambient,
        lightDiffuseCoeff=light.diffuse,
        lightSpecularCoeff=light.specular,
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
        physicsClientId=client,
    )
    return np.reshape(rgba, (height, width, 4))[..., :3], np.reshape(bodies, (height, width))


def _distractor(client: int, rng: np.random.Generator) -> tuple[int, PositionAt]:
    """A ball or box that swings, bounces or circles; its id, and where it is at a time in seconds."""
    radius = float(rng.uniform(0.05, 0.2))
    rgba = (*rng.uniform(0.05, 1, 3).tolist(), 1.0)
    if rng.random() < 0.5:
        visual = pybullet.createVisualShape(pybullet.GEOM_SPHERE, radius=radius, rgbaColor=rgba, physicsClientId=client)
    else:
        sides = (radius * rng.uniform(0.5, 1.5, 3)).tolist()
        visual = pybullet.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=sides, rgbaColor=rgba, physicsClientId=client
        )
    body = pybullet.createMultiBody(0, -1, visual, physicsClientId=client)
    distance, angle = rng.uniform(0.7, 1.9), rng.uniform(0, 2 * np.pi)
    swing, rate, phase = rng.uniform(0, 0.9), rng.uniform(0.2, 1.5), rng.uniform(0, 2 * np.pi)
    bounce, circle = rng.choice([0.0, 0.0, 1.0]) * rng.uniform(0.3, 1.5), rng.choice([0.0, 1.0]) * rng.uniform(-1, 1)

    def place(time_s: float) -> tuple[float, float, float]:
        turned = angle + circle * time_s
        along = swing * np.sin(rate * time_s + phase)
        return (
            float(distance * np.cos(turned) - along * np.sin(turned)),
            float(radius + bounce * abs(np.sin(2 * rate * time_s + phase))),
            float(distance * np.sin(turned) + along * np.cos(turned)),
        )

    return body, place


@dataclass(frozen=True)
class Lens:
    """Brightness, contrast, tint, vignette and noise of one camera."""

    gain_3HW: NDArray[np.float32]
    offset: float
    noise: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, width: int, height: int) -> "Lens":
        """A random contrast, vignette and gain, for frames of this size."""
        contrast = rng.uniform(0.7, 1.25)
        across, down = (np.linspace(-1, 1, side) ** 2 for side in (width, height))
        vignette = 1 - rng.uniform(0, 0.25) * (down[:, None] + across) / 2
        gain_3HW = contrast * vignette * rng.uniform(0.92, 1.08, (3, 1, 1))
        return cls(gain_3HW.astype(np.float32), float(128 * (1 - contrast) + rng.uniform(-25, 25)), rng.uniform(0, 7))

    def expose(self, rng: np.random.Generator, image_3HW: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The image (H, W, 3) that the camera makes of light of 0 to 255 (3, H, W)."""
        grain_HW = rng.standard_normal(image_3HW.shape[1:], dtype=np.float32) * np.float32(self.noise)
        exposed_3HW = image_3HW * self.gain_3HW + (grain_HW + np.float32(self.offset))
        return np.ascontiguousarray(np.clip(exposed_3HW, 0, 255).astype(np.uint8).transpose(1, 2, 0))
