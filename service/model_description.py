"""What clients may know of a model, from its configuration: for the worker that loads it, and for the server."""

from dataclasses import asdict
from typing import Protocol

from model.config import BACKGROUND, ModelConfig
from service.schemas import Rule
from service.server_schemas import ModelInfo, ModelOrigin


class DescribedModel(Protocol):
    """A loaded detector, or a checkpoint that was read."""

    @property
    def config(self) -> ModelConfig:
        """Its configuration."""

    @property
    def version(self) -> str:
        """Fingerprint of its weights and configuration."""


def describe(name: str, model: DescribedModel, origin: ModelOrigin = "configured") -> ModelInfo:
    """What clients may know of a model."""
    config = model.config
    labels = [label for label in config.labels if label != BACKGROUND]
    return ModelInfo(
        name=name,
        version=model.version,
        labels=labels,
        display_names=dict(config.display_names),
        sample_hz=config.sample_hz,
        image_size=config.image_size,
        framing=config.framing,
        mode=config.mode,
        start_rules={label: Rule(**asdict(rule)) for label, rule in config.start_rules.items()},
        warnings=list(config.warnings),
        origin=origin,
    )
