"""A new action from a few clips: the model, the estimate, the warnings, and serving it."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from model.checkpoints.checkpoint import load_checkpoint
from model.detector import Detector
from model.training.clips.few.classifier import fit, make_rows
from model.training.clips.few.features import FrozenNetwork, extract
from model.training.clips.few.material import clips_of_folders
from model.training.clips.few.train import score_clip, with_classifier
from model.training.progress import Progress
from service.event_schemas import EVENT
from service.schemas import ENDED_STATES
from tests.support.cake_command import Done, run
from tests.support.made_videos import Pixels, write_video
from tests.support.session_kit import lively_image
from tests.support.tiny_model import frames_of
from tests.support.tiny_server import tiny_server

SILENT = Progress(lambda text: None, lambda done, total: None, lambda done, total, loss: None, lambda sentence: None)


def write_clip(path: Path, number: int, *, bright: bool, count: int = 60) -> Path:
    """Two seconds of a pattern that changes; bright or dark, and another one for each number."""

    def image(frame: int, width: int, height: int) -> Pixels:
        pattern = lively_image(frame + 1000 * number, width, height) // 4
        return pattern + np.uint8(180) if bright else pattern

    return write_video(path, count=count, draw=image)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five bright clips, called kick, and five dark ones."""
    folder = tmp_path_factory.mktemp("clips")
    for name, bright in (("kick", True), ("other", False)):
        (folder / name).mkdir()
        for number in range(5):
            write_clip(folder / name / f"{name}{number}.mp4", number + 10 * bright, bright=bright)
    return folder


def learn(folders: Path, model: Path, out: Path, *more: object) -> Done:
    options = ("--from", model, "--label", "kick", "--out", out)
    return run("train", "clips", *options, *(more or (folders / "kick", folders / "other")))


@pytest.fixture(scope="module")
def learned(folders: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    out = tmp_path_factory.mktemp("learned") / "kick-model"
    return out, learn(folders, model, out)


def test_two_folders_become_a_model_and_a_report_of_what_to_expect(learned: tuple[Path, Done]) -> None:
    out, done = learned
    assert done.status == 0, done.err
    assert "clips judged correctly" in done.out
    assert "Only 5 clips with 'kick'" in done.err
    report = json.loads((out / "expected.json").read_text())
    assert (report["clips"], report["others"]) == (5, 5)
    assert report["expected"]["auc"] == 1.0
    assert report["expected"]["auc_low"] < 0.9, "five clips of each kind prove little"
    config = load_checkpoint(out)[0].config
    assert config.labels == ("background", "kick")
    assert config.start_rules_origin == "calibrated"


def test_everything_but_the_last_layer_stays_as_it_was(learned: tuple[Path, Done], model: Path) -> None:
    before, after = load_checkpoint(model)[0].state_dict(), load_checkpoint(learned[0])[0].state_dict()
    changed = {name for name in before if not np.array_equal(before[name].numpy(), after[name].numpy())}
    assert changed == {"head.classify.weight", "head.classify.bias"}


def test_the_served_scores_are_those_of_the_classifier(folders: Path, model: Path, tmp_path: Path) -> None:
    source, version = load_checkpoint(model)
    few = clips_of_folders("kick", folders / "kick", folders / "other")
    extracted, failures = extract(few.clips, FrozenNetwork(source, version), tmp_path, SILENT)
    clips = [clip for clip in extracted if clip is not None]
    assert not failures
    positive_N = np.array([few.positive(i) for i in range(len(clips))])
    classifier = fit(make_rows(source.head, clips, np.random.default_rng(0)), positive_N)
    detector = Detector(with_classifier(source, "kick", classifier))
    for clip, listed in zip(clips, few.clips, strict=True):
        stream = detector.open_stream()
        frames_TSS3 = frames_of(listed.path)
        served_T = [detector.push([stream], image[None])[0, 1] for image in frames_TSS3]
        assert score_clip(source, classifier, clip, 0) == pytest.approx(np.array(served_T), abs=1e-3)


@pytest.mark.slow
async def test_the_learned_action_is_served_and_its_start_arrives(learned: tuple[Path, Done], tmp_path: Path) -> None:
    video = write_clip(tmp_path / "new.mp4", 99, bright=True, count=90)
    async with (
        tiny_server(tmp_path / "data", learned[0], DEFAULT_MODEL="kick-model") as child,
        httpx.AsyncClient(base_url=child.url, timeout=120) as http,
    ):
        submitted = await http.post("/v1/sessions", files={"file": ("new.mp4", video.read_bytes())})
        assert submitted.status_code == 202, submitted.text
        path = f"/v1/sessions/{submitted.json()['id']}/events"
        starts = []
        async with http.stream("GET", path, headers={"accept": "text/event-stream"}) as events:
            async for line in events.aiter_lines():
                if line.startswith("data:"):
                    event = EVENT.validate_json(line.removeprefix("data:"))
                    if event.type == "action.start":
                        starts.append(event.label)
                    if event.type == "session.state" and event.state in ENDED_STATES:
                        break
    assert starts[:1] == ["kick"]


@pytest.mark.slow
def test_the_folder_of_a_model_has_a_plain_name_whatever_the_label(
    folders: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for label, expected in (("../../high kick", "high-kick-model"), ("-kick", "kick-model"), ("?", "action-model")):
        done = run("train", "clips", "--from", model, "--label", label, folders / "kick", folders / "other")
        assert done.status == 0, done.err
        assert (tmp_path / expected / "model.json").is_file()


@pytest.mark.slow
def test_a_list_of_clips_serves_as_well_as_folders(folders: Path, model: Path, tmp_path: Path) -> None:
    lines = [f"{path.relative_to(folders)} {path.parent.name}\n" for path in sorted(folders.glob("*/*.mp4"))]
    (folders / "clips.txt").write_text("".join(lines))
    done = learn(folders, model, tmp_path, "--clips", folders / "clips.txt", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["clips"] == 5


@pytest.mark.slow
def test_clips_that_are_short_damaged_or_alike_are_named(folders: Path, model: Path, tmp_path: Path) -> None:
    for name in ("kick", "other"):
        (tmp_path / name).mkdir()
        for clip in (folders / name).iterdir():
            (tmp_path / name / clip.name).symlink_to(clip)
    (tmp_path / "kick" / "broken.mp4").write_bytes(b"not a video")
    (tmp_path / "kick" / "copy.mp4").write_bytes((folders / "kick" / "kick0.mp4").read_bytes())
    write_clip(tmp_path / "other" / "short.mp4", 7, bright=False, count=20)
    write_clip(tmp_path / "other" / "kick.mp4", 11, bright=True, count=58)
    done = learn(tmp_path, model, tmp_path / "out")
    assert done.status == 0, done.err
    assert "broken.mp4: " in done.err
    assert "kick/copy.mp4 and kick/kick0.mp4 are nearly the same and count as one." in done.err
    assert "other/short.mp4: shorter than 1.5 s" in done.err
    assert "kick/kick1.mp4 and other/kick.mp4 are nearly the same, but not all" in done.err


def test_mistakes_end_in_one_clear_line(folders: Path, model: Path, tmp_path: Path) -> None:
    shown, other, empty = folders / "kick", folders / "other", tmp_path / "empty"
    empty.mkdir()
    given = ("--from", model, "--label", "kick")
    for arguments, expected in (
        ((*given, shown), "with two folders"),
        (("--from", model, shown, other), "with two folders"),
        ((*given, shown, shown), "expected two folders"),
        ((*given, shown, empty), "no video in it"),
        ((*given, shown, tmp_path / "none"), "expected a folder of video clips"),
        ((*given, shown, other, "--folds", "3"), "--folds has no effect without --background"),
        (("--label", "kick", shown, other), "Give a few clips as"),
        (("--background", "calm", shown, other), "a folder has no effect with --background"),
        (("--from", "nothing", "--label", "kick", shown, other), "no model 'nothing'"),
        (("--from", model, "--label", "background", shown, other), "expected a name for the action"),
        ((), "Give a few clips as"),
    ):
        done = run("train", "clips", "--out", tmp_path / "out", *arguments)
        assert done.status == 2
        assert expected in done.err
        assert done.err.count("\n") == 1, done.err


def test_one_video_with_the_action_and_without_it_is_an_error(folders: Path, model: Path, tmp_path: Path) -> None:
    for clip in (folders / "other").iterdir():
        (tmp_path / clip.name).symlink_to(clip)
    (tmp_path / "copy.mp4").write_bytes((folders / "kick" / "kick3.mp4").read_bytes())
    done = learn(folders, model, tmp_path / "out", folders / "kick", tmp_path)
    assert done.status == 2
    same = f"{folders / 'kick' / 'kick3.mp4'} and {tmp_path / 'copy.mp4'} are the same video, once with 'kick'"
    assert same in done.err
    assert done.err.count("\n") == 1, done.err


def test_too_few_clips_are_an_error(folders: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for clip in sorted((folders / "kick").iterdir())[:2]:
        (tmp_path / "two" / clip.name).symlink_to(clip)
    done = learn(folders, model, tmp_path / "out", tmp_path / "two", folders / "other")
    assert done.status == 2
    assert "2 usable clips of 'kick'; expected at least 3" in done.err
