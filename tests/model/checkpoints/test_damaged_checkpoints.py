"""Checkpoints whose numbers make no network are refused when they are loaded, whatever the numbers are."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints.checkpoint import save_checkpoint
from model.checkpoints.folders import CONFIG_FILE, WEIGHTS_FILE
from model.checkpoints.stored import CheckpointError
from model.detector import Detector
from tests.support.tiny_model import tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = tiny_model()
    save_checkpoint(tmp_path / "tiny", network, network.config.with_default_rules())
    return tmp_path / "tiny"


def numbers_of(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where a value of JSON holds numbers."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, item in items for place in numbers_of(item, (*at, key))]
    return [at] if isinstance(value, int | float) and not isinstance(value, bool) else []


def changed(config: Any, at: tuple[str | int, ...], value: float) -> None:
    for key in at[:-1]:
        config = config[key]
    config[at[-1]] = value


PLACES = numbers_of(json.loads(json.dumps(tiny_model().config.with_default_rules().to_json())))


@pytest.mark.parametrize("at", PLACES, ids=lambda at: ".".join(map(str, at)))
def test_a_number_of_the_configuration_that_is_not_finite_or_negative_or_huge_is_refused(
    folder: Path, at: tuple[str | int, ...]
) -> None:
    sound = (folder / CONFIG_FILE).read_text()
    may_be_huge = {"sample_hz", "min_duration_s", "refractory_s", "settle_s"}
    for value in (math.nan, math.inf, -math.inf, -1, *([] if at[-1] in may_be_huge else [10**30])):
        config = json.loads(sound)
        changed(config, at, value)
        (folder / CONFIG_FILE).write_text(json.dumps(config))
        with pytest.raises(CheckpointError):
            Detector.load(folder)


@pytest.mark.parametrize("at", [("image_size",), ("trunk", "stem_stride"), ("trunk", "depths", 0)])
def test_a_size_of_zero_is_refused_by_its_place(folder: Path, at: tuple[str | int, ...]) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    changed(config, at, 0)
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"sizes of the (model|trunk) must be from 1 to"):
        Detector.load(folder)


def test_a_head_for_one_branch_of_features_is_refused(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["head"]["motion_dim"] = 0
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="one branch of features only"):
        Detector.load(folder)


def test_a_configuration_of_a_much_larger_network_takes_no_memory(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["trunk"].update(widths=[16_384, 16_384], depths=[16_384, 16_384])
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="much larger network"):
        Detector.load(folder)


def test_a_weight_that_is_finite_only_in_double_precision_is_refused(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    weights["head.classify.weight"] = weights["head.classify.weight"].double() * 1e300
    save_file(weights, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=r"head\.classify\.weight has \d+ of 48 values that are NaN or infinite"):
        Detector.load(folder)


def test_a_negative_variance_whose_root_is_not_a_number_is_refused(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name] = torch.full_like(weights[name], -1.0)
    save_file(weights, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match="has a negative variance"):
        Detector.load(folder)
