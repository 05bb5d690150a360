"""PeopleStreams: falls that end low, look-alikes without a label, figures anywhere, reproducible streams."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from model.training.layouts.annotations import read_targets
from model.training.mocap.motion import MOTION_HZ, Recordings, above_floor, load_recordings
from model.training.mocap.skeleton import NECK, ROOT, link_poses
from model.training.people import postures, seated
from model.training.people.dataset import write_people_streams
from model.training.people.everyday import ON_THE_SPOT
from model.training.people.floorwork import rise_from_floor
from model.training.people.places import KINDS, build_place
from model.training.people.props import draw_props
from model.training.people.puppet import Key, Pose, animate
from model.training.people.ragdoll import Loss, fall
from model.training.people.script import LABELS, write_script
from model.training.people.stream import PeopleSpec, Scene, compose_scene
from tests.support.cake_command import run

STREAM_S = 20.0
SEEDS, EVERYDAY_SEEDS = range(12), range(6)
FASTEST_M_S, FASTEST_ROOT_M_S = 33.0, 17.0  # a kicking foot; hips thrown about in a fight


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    return load_recordings()


@pytest.fixture(scope="module")
def scenes(recordings: Recordings) -> list[Scene]:
    return [compose_scene(np.random.default_rng(seed), recordings, spec(seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def everyday(recordings: Recordings) -> list[Scene]:
    return [
        compose_scene(np.random.default_rng(seed), recordings, spec(seed, everyday_only=True))
        for seed in EVERYDAY_SEEDS
    ]


def spec(seed: int, *, everyday_only: bool = False) -> PeopleSpec:
    return PeopleSpec(seed, 0, STREAM_S, 10, everyday_only, targets=False, subset=None)


def write(
    folder: Path, *, seed: int = 3, streams: int = 1, workers: int = 1, activities: bool = False
) -> list[tuple[int, int]]:
    reports: list[tuple[int, int]] = []
    write_people_streams(
        folder,
        minutes=streams * 6 / 60,
        seed=seed,
        stream_s=6.0,
        fps=10,
        targets=True,
        activities=activities,
        workers=workers,
        on_progress=lambda *done: reports.append(done),
    )
    return reports


@pytest.mark.parametrize("name", [*ON_THE_SPOT, "sit", "bed", "stand", "rise"])
def test_an_everyday_motion_keeps_above_the_floor_and_moves_without_jumps(name: str) -> None:
    for seed in range(4):
        motion = above_floor(animate(_keys(np.random.default_rng(seed), name)))
        joints_TJ3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
        assert np.isfinite(joints_TJ3).all()
        assert joints_TJ3[..., 1].min() > 0.0
        assert np.linalg.norm(np.diff(joints_TJ3, axis=0), axis=2).max() * MOTION_HZ < 9.0


def _keys(rng: np.random.Generator, name: str) -> Sequence[Key]:
    if name == "sit":
        meanwhile = seated.while_seated(rng, 0.42, 3.0, "shoes")
        return postures.chained(seated.sit_down(rng, 0.42, quick=True), meanwhile, seated.stand_up(rng, 0.42))
    if name == "bed":
        return seated.lie_on_seat(rng, 0.4, 4.0)
    if name == "stand":
        return postures.stand(rng, 4.0)
    if name == "rise":
        return rise_from_floor(rng, face_up=bool(rng.random() < 0.5))
    return ON_THE_SPOT[name](rng)


@pytest.mark.parametrize("kind", ["trip", "slip", "push", "faint"])
def test_who_loses_balance_ends_on_the_floor_and_lies_still(kind: str) -> None:
    standing = animate([Key(0.0, Pose()), Key(0.5, Pose())])
    loss = Loss(kind, direction_rad=0.4, strength=1.0, limp_s=0.3, protect=False)
    motion = fall(standing, loss, [])
    joints_TJ3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
    assert joints_TJ3[0, NECK, 1] > 1.2
    assert joints_TJ3[-1, NECK, 1] < 0.6
    assert joints_TJ3[..., 1].min() > -0.12
    assert np.linalg.norm(joints_TJ3[-1] - joints_TJ3[-2], axis=1).max() * MOTION_HZ < 1.0


def test_a_fall_begins_with_the_pose_and_the_movement_before_it() -> None:
    standing = animate([Key(0.0, Pose()), Key(0.5, Pose())])
    motion = fall(standing, Loss("faint", 0.0, 1.0, 0.3, False), [])
    before_J3, _ = link_poses(standing.root_T3[-1:], standing.rotations_TL4[-1:])
    after_J3, _ = link_poses(motion.root_T3[:1], motion.rotations_TL4[:1])
    assert np.abs(before_J3 - after_J3).max() < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_no_figure_jumps_and_every_label_lies_inside_the_stream(recordings: Recordings, kind: str) -> None:
    place = build_place(np.random.default_rng(1), kind)
    script = write_script(np.random.default_rng(2), recordings, place, STREAM_S)
    for motion in script.motions:
        assert len(motion) == round(STREAM_S * MOTION_HZ)
        joints_TJ3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
        steps_m = np.linalg.norm(np.diff(joints_TJ3, axis=0), axis=2)
        assert steps_m.max() < FASTEST_M_S / MOTION_HZ
        assert steps_m[:, ROOT].max() < FASTEST_ROOT_M_S / MOTION_HZ
    for number, note in script.notes:
        assert number < len(script.actors)
        assert 0 <= note.start_s <= note.end_s <= STREAM_S


@pytest.mark.slow
def test_who_falls_is_upright_or_seated_at_the_onset_and_low_at_the_end(recordings: Recordings) -> None:
    falls = 0
    for seed in range(8):
        place = build_place(np.random.default_rng(seed), "room")
        script = write_script(np.random.default_rng(seed), recordings, place, 30.0, labels=("fall",))
        for number, note in script.notes:
            if note.kind != "fall" or note.end_s >= 30.0:
                continue
            motion = script.motions[number]
            joints_TJ3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
            start, end = int(note.start_s * MOTION_HZ), int(note.end_s * MOTION_HZ)
            assert joints_TJ3[end - 1, NECK, 1] < 0.8
            assert joints_TJ3[start, NECK, 1] > joints_TJ3[end - 1, NECK, 1] + 0.2
            falls += 1
        if falls >= 3:
            return
    pytest.fail(f"only {falls} falls")


@pytest.mark.slow
def test_people_who_fight_are_close_to_each_other(scenes: list[Scene]) -> None:
    fights = [(scene, note) for scene in scenes for _, note in scene.script.notes if note.kind == "fight"]
    assert fights
    for scene, note in fights:
        index = int((note.start_s + min(note.end_s, STREAM_S)) / 2 * scene.fps)
        roots_A2 = scene.joints_ATJ3[:, index, ROOT][:, [0, 2]]
        apart_AA = np.linalg.norm(roots_A2[:, None] - roots_A2[None], axis=2) + 9 * np.eye(len(roots_A2))
        assert apart_AA.min() < 1.5


@pytest.mark.slow
def test_everyday_streams_carry_no_label_but_many_look_alikes(everyday: list[Scene]) -> None:
    kinds = {note.kind for scene in everyday for _, note in scene.script.notes}
    assert not kinds & set(LABELS)
    assert len(kinds) > 8


@pytest.mark.slow
def test_look_alikes_are_more_frequent_on_request(recordings: Recordings, everyday: list[Scene]) -> None:
    def pets_and_dances(scenes: list[Scene]) -> int:
        dances = sum("dance" in note.kind for scene in scenes for _, note in scene.script.notes)
        return dances + sum(prop.kind == "pet" for scene in scenes for prop in scene.props)

    asked = [replace(spec(seed, everyday_only=True), look_alikes=True) for seed in EVERYDAY_SEEDS]
    more = [compose_scene(np.random.default_rng(each.seed), recordings, each) for each in asked]
    assert pets_and_dances(more) > 2 * pets_and_dances(everyday)


@pytest.mark.slow
def test_figures_are_anywhere_in_the_frame_and_of_many_sizes(scenes: list[Scene]) -> None:
    middles, heights = [], []
    for scene in scenes:
        for joints_TJ3 in scene.joints_ATJ3:
            image_TJ2 = scene.camera.project(joints_TJ3)[::40]
            inside_T = (np.abs(image_TJ2) < 1).all(axis=(1, 2))
            middles += list(image_TJ2[inside_T].mean(axis=1))
            heights += list(np.ptp(image_TJ2[inside_T, :, 1], axis=1) / 2)
    assert (np.quantile(middles, 0.1, axis=0) < 0).all()
    assert (np.quantile(middles, 0.9, axis=0) > [0.25, 0.1]).all()
    assert np.quantile(heights, 0.9) > 2 * np.quantile(heights, 0.1)


@pytest.mark.slow
def test_streams_match_their_annotations_and_targets(tmp_path: Path) -> None:
    reports = write(tmp_path, streams=2, workers=2)
    assert reports[-1] == (2, 2)
    database = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert sorted(database) == ["people_3_00000", "people_3_00001"]
    for name, entry in database.items():
        with av.open(str(tmp_path / "videos" / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) / 10 == entry["duration"] == 6.0
        assert f"{frames[0].shape[1]}x{frames[0].shape[0]}" == entry["resolution"]
        for annotation in entry["annotations"]:
            assert annotation["label"] in (*LABELS, "ambiguous")
            assert 0 <= annotation["segment"][0] < annotation["segment"][1] <= 6.0
        with np.load(tmp_path / "targets" / f"{name}.npz") as targets:
            assert targets["mask_THW"].shape == (60, 14, 14)
            assert targets["joints_TJ2"].shape == (60, 15, 2)
            np.testing.assert_allclose(targets["pts_s_T"], np.arange(60) / 10)


@pytest.mark.slow
def test_a_stream_has_the_same_bytes_for_the_same_seed_and_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "first")
    write(tmp_path / "second")
    video = tmp_path / "first" / "videos" / "people_3_00000.mp4"
    for file in ("videos/people_3_00000.mp4", "targets/people_3_00000.npz", "streams/people_3_00000.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    written_ns = video.stat().st_mtime_ns
    assert write(tmp_path / "first") == [(1, 1)]
    assert video.stat().st_mtime_ns == written_ns
    write(tmp_path / "first", seed=4)
    assert len(json.loads((tmp_path / "first" / "annotations.json").read_text())["database"]) == 2


def test_everyday_activities_become_labels_on_request_if_several_streams_show_them(tmp_path: Path) -> None:
    write(tmp_path)
    note = next((tmp_path / "streams").glob("*.json"))
    content = json.loads(note.read_text())
    walk = {"segment": [0.5, 1.5], "label": "walk", "actor": 0}
    others = ({"segment": [2.0, 3.0], "label": label, "actor": 0} for label in ("sit", "spin", "read", "wave", "nod"))
    for number, other in enumerate(others):
        entry = {**content["entry"], "subset": "training", "annotations": [], "also": [walk, other]}
        note.with_name(f"copy{number}.json").write_text(json.dumps({**content, "entry": entry}))
    write(tmp_path, activities=True)
    copies = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert all(
        copies[f"copy{number}"]["annotations"] == [{"segment": [0.5, 1.5], "label": "walk"}] for number in range(5)
    )


def test_targets_are_read_at_the_times_of_the_sampled_frames(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    rows = np.arange(8)
    np.savez(
        tmp_path / "targets" / "clip.npz",
        joints_TJ2=np.broadcast_to(rows[:, None, None], (8, 15, 2)).astype(np.float16),
        mask_THW=np.broadcast_to(rows[:, None, None], (8, 14, 14)).astype(np.uint8),
        pts_s_T=rows / 30,
    )
    targets = read_targets(tmp_path / "targets" / "clip.npz", np.array([0.0, 0.1001, 0.1999]))
    assert targets is not None
    assert targets.joints_TJ2[:, 0, 0].tolist() == [0, 3, 6]
    assert targets.mask_TGG[:, 0, 0].tolist() == [0, 3, 6]


@pytest.mark.slow
def test_the_command_prints_lines_without_a_terminal(tmp_path: Path) -> None:
    options = ("--minutes", 0.1, "--seed", 1, "--stream-s", 6, "--fps", 5, "--everyday", "--workers", 1)
    status, _, err = run("synth", "people", "--out", tmp_path, *options)
    assert status == 0, err
    assert "streams: 1 of 1" in err
    assert json.loads((tmp_path / "annotations.json").read_text())["database"]["people_1_00000"]["annotations"] == []


def test_falling_things_come_to_rest_on_the_floor_and_are_not_people(recordings: Recordings) -> None:
    place = build_place(np.random.default_rng(0), "room")
    kinds = set()
    for seed in range(30):
        for prop in draw_props(np.random.default_rng(seed), place, frames=200, fps=10):
            kinds.add(prop.kind)
            assert np.isfinite(prop.placed.centres_TE3).all()
            if prop.kind.startswith("falling"):
                assert prop.placed.centres_TE3[0, :, 1].max() > prop.placed.centres_TE3[-1, :, 1].max() + 0.3
                assert prop.placed.centres_TE3[-1, :, 1].max() < 0.5
    assert {"pet", "ball", "falling_box", "falling_coat"} <= kinds


@pytest.mark.slow
def test_enlarged_frames_show_the_same_scene(recordings: Recordings) -> None:
    small, large = (compose_scene(np.random.default_rng(5), recordings, replace(spec(5), scale=s)) for s in (1, 3))
    assert (large.camera.sensor.width, large.camera.sensor.height) == (
        3 * small.camera.sensor.width,
        3 * small.camera.sensor.height,
    )
    at_J3 = small.joints_ATJ3[0, :1]
    np.testing.assert_array_equal(large.camera.project(at_J3), small.camera.project(at_J3))
    assert large.script.notes == small.script.notes
