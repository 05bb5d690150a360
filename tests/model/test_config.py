"""The labels in a model's configuration."""

from dataclasses import replace

import pytest

from model.config import ConfigError
from tests.support.tiny_model import tiny_model

NAMES = {"kick": "Tritt", "punch": "Schlag"}


def test_labels_that_stay_keep_their_names_when_a_network_is_trained_for_others() -> None:
    config = replace(tiny_model().config, display_names=NAMES)
    other = config.for_labels(("background", "kick", "jump"))
    assert (other.labels, other.display_names) == (("background", "kick", "jump"), {"kick": "Tritt"})
    assert type(other).from_json(other.to_json()) == other


def test_a_name_of_a_label_that_the_model_lacks_is_rejected() -> None:
    with pytest.raises(ConfigError, match="display names of labels that the model lacks: jump"):
        replace(tiny_model().config, display_names={"jump": "Sprung"})
