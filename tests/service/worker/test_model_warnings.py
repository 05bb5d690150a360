from dataclasses import replace

from model.config import DEFAULT_START_RULE
from model.detector import Detector
from service.model_description import describe
from tests.support.tiny_model import tiny_model


def test_clients_are_warned_of_models_without_calibrated_rules() -> None:
    network = tiny_model()
    assert "has no start rules" in describe("tiny", Detector(network)).warnings[0]
    network.config = network.config.with_default_rules()
    assert "are not calibrated" in describe("tiny", Detector(network)).warnings[0]
    network.config = replace(network.config, start_rules={"kick": DEFAULT_START_RULE}, start_rules_origin="calibrated")
    assert describe("tiny", Detector(network)).warnings == []
