"""Feedback on a session's actions trains the next model: judge, export, train, load."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cake_client import ActionStart, Client
from model.detector import Detector
from tests.support.cake_command import run
from tests.support.page_driver import SAMPLE, free_port, served
from tests.support.training_kit import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "served", free_port()) as url:
        yield url


def test_a_shipped_model_learns_from_judged_and_missed_actions_and_the_result_loads(
    server: str, tmp_path: Path
) -> None:
    with Client(server) as client:
        session = client.submit_file(SAMPLE)
        starts = {event.label: event for event in client.follow(session.id) if isinstance(event, ActionStart)}
        client.judge(session.id, starts["roll"].id, is_right=True)
        client.judge(session.id, starts["kick"].id, is_right=False)
        client.add_missed(session.id, "jump", 4.5, 5.0)
    data, out, recipe = tmp_path / "data", tmp_path / "model", tmp_path / "recipe.json"
    done = run("data", "export", "--sessions", session.id, "--out", data, "--server", server)
    assert done.status == 0, done.err
    recipe.write_text(json.dumps(TINY.to_json()))
    done = run("train", "--from", "mocap", "--data", data, "--recipe", recipe, "--out", out, "--processes", 1)
    assert done.status == 0, done.err
    config = Detector.load(out).config
    assert config.labels == ("background", "jump", "roll")
    assert config.image_size == Detector.load(Path("mocap")).config.image_size
