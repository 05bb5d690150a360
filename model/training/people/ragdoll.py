"""Falls by physics: pybullet's humanoid loses its balance during a motion, falls, and lies still where it lands.

Lengths are metres of the unscaled figure; y is up.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pybullet

from model.training.mocap import quaternions as quat
from model.training.mocap.motion import MOTION_HZ, Motion
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import (
    CHEST,
    HINGES,
    LEFT_ANKLE,
    LEFT_ELBOW,
    LEFT_SHOULDER,
    LINKS,
    NECK,
    PARENTS,
    RIGHT_ANKLE,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    ROOT,
    link_poses,
)

_SUBSTEPS = 4
_SCALE = 0.25  # of the URDF's lengths
_STILL_M_S = 0.12
_STILL_S = 0.35
# The torque in newton metres with which muscles hold a joint during the fall.
_STRENGTH = {CHEST: 90.0, NECK: 15.0, RIGHT_ANKLE: 10.0, LEFT_ANKLE: 10.0, RIGHT_SHOULDER: 18.0, LEFT_SHOULDER: 18.0}
_HIP_STRENGTH, _HINGE_STRENGTH = 70.0, 35.0


@dataclass(frozen=True)
class RagdollBlock:
    """A piece of furniture that a body can lie on or bump into: a box turned by `yaw_rad` about the vertical."""

    middle_3: Array
    half_3: Array
    yaw_rad: float


@dataclass(frozen=True)
class Loss:
    """How balance is lost."""

    kind: str
    """"trip" holds a foot back, "slip" draws both feet away, "push" shoves the chest, "faint" does nothing."""
    direction_rad: float
    """Heading of the push, or of the feet's slip."""
    strength: float
    """1: usual."""
    limp_s: float
    """How soon the muscles give way; 0: immediately."""
    protect: bool
    """The arms reach out."""


def fall(motion: Motion, loss: Loss, blocks: Sequence[RagdollBlock], longest_s: float = 4.0) -> Motion:
    """The motion after the last frame of `motion` (at least two frames), until the body lies still."""
    with _world(blocks) as client:
        body = _humanoid(client)
        _start(client, body, motion[-3:])
        frames = [_pose(client, body)]
        foot = _hold_foot(client, body) if loss.kind == "trip" else None
        still_s = 0.0
        target_L4 = motion.rotations_TL4[-1].copy()
        for frame in range(round(longest_s * MOTION_HZ)):
            now_s = frame / MOTION_HZ
            if foot is not None and now_s > 0.28 * loss.strength:
                pybullet.removeConstraint(foot, physicsClientId=client)
                foot = None
            _brace(client, body, target_L4, loss, now_s)
            for _ in range(_SUBSTEPS):
                _shove(client, body, loss, now_s)
                pybullet.stepSimulation(physicsClientId=client)
            frames.append(_pose(client, body))
            moved_m = np.linalg.norm(frames[-1][0] - frames[-2][0], axis=1).max()
            still_s = still_s + 1 / MOTION_HZ if moved_m * MOTION_HZ < _STILL_M_S else 0.0
            if still_s > _STILL_S and now_s > 0.6:
                break
    return _as_motion(frames[1:])


@contextmanager
def _world(blocks: Sequence[RagdollBlock]) -> Iterator[int]:
    client = pybullet.connect(pybullet.DIRECT)
    try:
        pybullet.setGravity(0, -9.8, 0, physicsClientId=client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=1 / (MOTION_HZ * _SUBSTEPS), numSolverIterations=30, physicsClientId=client
        )
        floor = pybullet.createCollisionShape(pybullet.GEOM_PLANE, planeNormal=[0, 1, 0], physicsClientId=client)
        _fixed(client, floor, np.zeros(3), 0.0)
        for block in blocks:
            shape = pybullet.createCollisionShape(
                pybullet.GEOM_BOX, halfExtents=block.half_3.tolist(), physicsClientId=client
            )
            _fixed(client, shape, block.middle_3, block.yaw_rad)
        yield client
    finally:
        pybullet.disconnect(client)


def _fixed(client: int, shape: int, place_3: Array, yaw_rad: float) -> None:
    turn = quat.about_y(np.asarray(yaw_rad)).tolist()
    body = pybullet.createMultiBody(0, shape, -1, place_3.tolist(), turn, physicsClientId=client)
    pybullet.changeDynamics(body, -1, lateralFriction=0.9, restitution=0.0, physicsClientId=client)


def _humanoid(client: int) -> int:
    package = importlib.util.find_spec("pybullet_data")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("falls need pybullet: install the `train` extra", name="pybullet_data")
    flags = pybullet.URDF_MAINTAIN_LINK_ORDER | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
    body = int(
        pybullet.loadURDF(
            str(Path(package.origin).parent / "humanoid" / "humanoid.urdf"),
            globalScaling=_SCALE,
            flags=flags,
            physicsClientId=client,
        )
    )
    for link in range(-1, LINKS):
        pybullet.changeDynamics(
            body,
            link,
            lateralFriction=0.8,
            restitution=0.0,
            linearDamping=0.02,
            angularDamping=0.05,
            jointDamping=0.4,
            physicsClientId=client,
        )
    return body


def _start(client: int, body: int, motion: Motion) -> None:
    """Gives the body the last frame's pose and movement."""
    joints_TL3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
    step_L4 = quat.multiply(motion.rotations_TL4[-1], quat.inverse(motion.rotations_TL4[-2]))
    turning_L3 = np.clip(quat.to_rotvec(step_L4) * MOTION_HZ, -6, 6)
    moving_3 = np.clip((joints_TL3[-1, ROOT] - joints_TL3[0, ROOT]) * MOTION_HZ / (len(motion) - 1), -4, 4)
    root_4 = motion.rotations_TL4[-1, 0]
    pybullet.resetBasePositionAndOrientation(body, motion.root_T3[-1].tolist(), root_4.tolist(), physicsClientId=client)
    pybullet.resetBaseVelocity(body, moving_3.tolist(), turning_L3[0].tolist(), physicsClientId=client)
    for link in range(1, LINKS):
        turn_4 = motion.rotations_TL4[-1, link]
        if pybullet.getJointInfo(body, link, physicsClientId=client)[2] == pybullet.JOINT_FIXED:
            continue
        if link in HINGES:
            angle = [float(quat.to_rotvec(turn_4)[2])]
            pybullet.resetJointStateMultiDof(body, link, angle, [float(turning_L3[link, 2])], physicsClientId=client)
        else:
            pybullet.resetJointStateMultiDof(
                body, link, turn_4.tolist(), turning_L3[link].tolist(), physicsClientId=client
            )


def _brace(client: int, body: int, target_L4: Array, loss: Loss, now_s: float) -> None:
    """Muscles hold the last pose, ever more weakly; arms reach forward if they protect."""
    tone = np.exp(-now_s / loss.limp_s) if loss.limp_s > 0 else 0.0
    tone = max(tone, 0.05)
    for link in range(1, LINKS):
        if pybullet.getJointInfo(body, link, physicsClientId=client)[2] == pybullet.JOINT_FIXED:
            continue
        strength = _STRENGTH.get(link, _HINGE_STRENGTH if link in HINGES else _HIP_STRENGTH) * tone
        target_4 = target_L4[link]
        if loss.protect and 0.12 < now_s < 1.0 and link in (RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_ELBOW, LEFT_ELBOW):
            strength = 22.0
            angle = 1.5 if link in (RIGHT_SHOULDER, LEFT_SHOULDER) else 0.5
            target_4 = quat.from_rotvec(np.array([0.0, 0.0, angle]))
        if link in HINGES:
            pybullet.setJointMotorControlMultiDof(
                body,
                link,
                pybullet.POSITION_CONTROL,
                targetPosition=[float(quat.to_rotvec(target_4)[2])],
                targetVelocity=[0.0],
                positionGain=0.08,
                velocityGain=0.6,
                force=[float(strength)],
                physicsClientId=client,
            )
        else:
            pybullet.setJointMotorControlMultiDof(
                body,
                link,
                pybullet.POSITION_CONTROL,
                targetPosition=target_4.tolist(),
                targetVelocity=[0.0, 0.0, 0.0],
                positionGain=0.08,
                velocityGain=0.6,
                force=[float(strength)] * 3,
                physicsClientId=client,
            )


def _shove(client: int, body: int, loss: Loss, now_s: float) -> None:
    along_3 = np.array([np.cos(loss.direction_rad), 0.0, -np.sin(loss.direction_rad)])
    if loss.kind == "trip" and now_s < 0.25:
        _push(client, body, CHEST, along_3 * 130 * loss.strength)
    elif loss.kind == "push" and now_s < 0.2:
        _push(client, body, CHEST, along_3 * 260 * loss.strength)
    elif loss.kind == "faint" and now_s < 0.3:
        _push(client, body, CHEST, along_3 * 40 * loss.strength)
    elif loss.kind == "slip" and now_s < 0.25:
        for ankle in (RIGHT_ANKLE, LEFT_ANKLE):
            _push(client, body, ankle, (along_3 + np.array([0.0, 0.3, 0.0])) * 110 * loss.strength)
        _push(client, body, CHEST, -along_3 * 60 * loss.strength)


def _push(client: int, body: int, link: int, force_3: Array) -> None:
    place = pybullet.getLinkState(body, link, physicsClientId=client)[0]
    pybullet.applyExternalForce(body, link, force_3.tolist(), place, pybullet.WORLD_FRAME, physicsClientId=client)


def _hold_foot(client: int, body: int) -> int:
    """The foot that is further behind meets an obstacle."""
    places = {link: pybullet.getLinkState(body, link, physicsClientId=client)[4] for link in (RIGHT_ANKLE, LEFT_ANKLE)}
    velocity = pybullet.getBaseVelocity(body, physicsClientId=client)[0]
    behind = min(places, key=lambda link: places[link][0] * velocity[0] + places[link][2] * velocity[2])
    foot = pybullet.createConstraint(
        body,
        behind,
        -1,
        -1,
        pybullet.JOINT_POINT2POINT,
        [0, 0, 0],
        [0, 0, 0],
        places[behind],
        physicsClientId=client,
    )
    pybullet.changeConstraint(foot, maxForce=900, physicsClientId=client)
    return int(foot)


def _pose(client: int, body: int) -> tuple[Array, Array]:
    """World places (15, 3) and turns (15, 4) of all links."""
    states = pybullet.getLinkStates(body, list(range(LINKS)), computeForwardKinematics=1, physicsClientId=client)
    return np.array([state[4] for state in states]), np.array([state[5] for state in states])


def _as_motion(frames: Sequence[tuple[Array, Array]]) -> Motion:
    world_TL4 = np.stack([turns for _, turns in frames])
    local_TL4 = world_TL4.copy()
    for link in range(1, LINKS):
        local_TL4[:, link] = quat.multiply(quat.inverse(world_TL4[:, PARENTS[link]]), world_TL4[:, link])
    return Motion(np.stack([places[ROOT] for places, _ in frames]), local_TL4)
