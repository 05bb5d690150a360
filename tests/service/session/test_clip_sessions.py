"""Sessions of a model in clip mode."""

import json
from pathlib import Path

from model.detector import Detector
from service.model_description import describe
from tests.support.disturbed_place import a_place
from tests.support.session_kit import actions, expected_actions
from tests.support.tiny_model import checkpoint_for


async def test_a_model_in_clip_mode_is_served_and_its_cost_stated(video: Path, tmp_path: Path) -> None:
    model = checkpoint_for(video, tmp_path)
    config = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**config, "mode": "clip"}))
    detector = Detector.load(model)
    async with a_place(model, tmp_path / "data") as place:
        record, events = await place.run(upload=video)
    assert record.state == "completed"
    assert actions(events) == expected_actions(video, detector) != []
    assert any("about 13 times the work of causal mode" in warning for warning in record.warnings)
    assert describe("tiny", detector).mode == "clip"
