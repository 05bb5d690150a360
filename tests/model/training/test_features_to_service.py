"""From a student's features, as wide as the published ones, to a served model whose starts arrive."""

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch

from model.checkpoints.checkpoint import save_checkpoint
from model.config import HeadConfig
from model.network.cake import Cake
from model.training.recipe import Schedule
from model.video.preprocess import normalise
from service.event_schemas import EVENT
from service.schemas import ENDED_STATES
from tests.support.cake_command import run
from tests.support.layout_kit import write_thumos
from tests.support.made_videos import Pixels, write_video
from tests.support.session_kit import lively_image
from tests.support.tiny_model import frames_of, tiny_model
from tests.support.tiny_server import tiny_server
from tests.support.training_kit import TINY

WIDTHS = (2048, 1024)  # of RGB and flow, as TeSTra and MAT share them
RECIPE = replace(
    TINY,
    contrast=replace(TINY.contrast, kind="none"),
    head=replace(TINY.head, schedule=Schedule(150, learning_rate=1e-2, warmup_steps=5), pad_windows=True),
)


def write_film(path: Path, number: int) -> Path:
    """Six seconds of a changing pattern, dark but for the third and the fourth."""

    def image(frame: int, width: int, height: int) -> Pixels:
        pattern = lively_image(frame + 1000 * number, width, height) // 4
        return pattern + 180 if 60 <= frame < 120 else pattern

    return write_video(path, count=180, draw=image)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "videos").mkdir()
    database = {}
    for number, subset in enumerate(("training", "training", "testing")):
        write_film(folder / "videos" / f"{subset}{number}.mp4", number)
        annotations = [{"label": "kick", "segment": [2, 4]}]
        database[f"{subset}{number}"] = {"subset": subset, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(RECIPE.to_json()))
    return path


def write_student(folder: Path, video: Path) -> Path:
    """Random weights without a head, whose norms know the statistics of such videos."""
    head = HeadConfig(
        projection_width=16, feature_dim=WIDTHS[0], motion_dim=WIDTHS[1], pool_steps=3, fused_dim=16, hidden_dim=16
    )
    student = Cake(replace(tiny_model().config, head=head)).train()
    with torch.no_grad():
        for _ in range(20):
            student.sequence(torch.from_numpy(normalise(frames_of(video)))[None])
    save_checkpoint(folder, student.eval(), parts=("trunk", "static_head", "motion", "motion_head"))
    return folder


@pytest.mark.slow
async def test_a_head_on_a_student_s_features_of_the_published_widths_is_served_and_its_start_arrives(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    student = write_student(tmp_path / "student", data / "videos" / "training0.mp4")
    features, out = tmp_path / "features", tmp_path / "model"
    done = run("features", "--data", data, "--model", student, "--out", features, "--processes", 1)
    assert done.status == 0, done.err
    done = run("train", "--data", features, "--from", student, "--recipe", recipe, "--out", out, "--processes", 1)
    assert done.status == 0, done.err
    async with (
        tiny_server(tmp_path / "data", out, DEFAULT_MODEL="model") as child,
        httpx.AsyncClient(base_url=child.url, timeout=120) as http,
    ):
        video = data / "videos" / "testing2.mp4"
        submitted = await http.post("/v1/sessions", files={"file": ("film.mp4", video.read_bytes())})
        assert submitted.status_code == 202, submitted.text
        path = f"/v1/sessions/{submitted.json()['id']}/events"
        starts = []
        async with http.stream("GET", path, headers={"accept": "text/event-stream"}) as events:
            async for line in events.aiter_lines():
                if line.startswith("data:"):
                    event = EVENT.validate_json(line.removeprefix("data:"))
                    if event.type == "action.start":
                        starts.append((event.label, event.start_s))
                    if event.type == "session.state" and event.state in ENDED_STATES:
                        break
    assert starts
    label, start_s = starts[0]
    assert label == "kick"
    assert start_s == pytest.approx(2.0, abs=0.5)


@pytest.mark.slow
def test_a_head_on_features_of_others_says_that_it_sees_no_video(data: Path, recipe: Path, tmp_path: Path) -> None:
    published, out = write_thumos(tmp_path, *WIDTHS), tmp_path / "head"
    done = run("train", "--data", published, "--recipe", recipe, "--out", out, "--processes", 1, "--effort", 0.01)
    assert done.status == 0, done.err
    assert "contains only a head, which scores stored features and cannot be served" in done.err
    done = run("detect", data / "videos" / "testing2.mp4", "--model", out)
    assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
    assert (
        "head contains only a head, for stored features of 2048 and 1024 numbers per frame, and cannot analyse video"
        in done.err
    )
