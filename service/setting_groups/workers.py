"""Models, and the workers that run them."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from model.config import Precision
from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED, join_items, variable


class WorkerSettings(SettingGroup):
    """Models and workers: what is loaded, and how much runs at once."""

    models: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["people,/srv/models/kitchen"],
        description="Models to load: names of shipped models, or checkpoint folders. The default is all that ship.",
    )
    default_model: str | None = Field(
        default=None,
        examples=["people"],
        description="Model of sessions that do not name one. The default is the first of CAKE_MODELS, else `people`.",
    )
    precision: Precision = Field(
        default="auto",
        examples=["float32"],
        description="`auto`: bfloat16 on processors that support it, which changes scores slightly. `float32`: the same"
        " scores on every machine.",
    )
    workers: int = Field(
        default=1, ge=0, le=64, examples=["2"], description="Worker processes that `cake serve` starts, one core each."
    )
    worker_threads: int = Field(default=1, ge=1, examples=["1"], description="Detector threads in each worker.")
    worker_max_sessions: int = Field(
        default=16, ge=1, examples=["16"], description="Sessions per worker. Each has its own decoder process."
    )
    worker_capacity_steps_per_s: float | None = Field(
        default=None,
        gt=0,
        examples=["400"],
        description="Detector steps per second that a worker offers. The default is to measure it at start-up.",
    )
    fast_session_steps_per_s: float = Field(
        default=2.0,
        gt=0,
        examples=["2"],
        description="Capacity reserved for each session of pace `fast`. Such a session also uses capacity that is "
        "free.",
    )
    queue_beyond_capacity: bool = Field(
        default=False,
        examples=["true"],
        description="Queue sessions beyond the capacity instead of rejecting them, for deployments that add workers.",
    )
    max_queued_sessions: int = Field(
        default=64, ge=0, examples=["64"], description="Largest number of sessions waiting for a worker."
    )
    worker_host: str = Field(
        default="127.0.0.1",
        examples=["0.0.0.0"],
        description="Address on which a worker accepts pushed streams from servers, sends them live video, and serves"
        " its health and metrics.",
    )
    worker_address: str | None = Field(
        default=None,
        examples=["worker-1.internal"],
        description="Address under which servers on other machines reach this worker. The default is its host.",
    )
    worker_push_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        examples=["8002"],
        description="Port for pushed streams and live video; 0 picks a free port.",
    )
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        examples=["8001"],
        description="Port of `/livez`, `/readyz` and `/metrics` of `cake worker`. The default is not to serve them.",
    )
    worker_id: str | None = Field(
        default=None, examples=["worker-1"], description="Name of a worker. `cake serve` sets it for its own workers."
    )

    @field_validator("models")
    @classmethod
    def _are_names(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if any(name.startswith(("[", '"')) for name in models):
            raise ValueError("give names separated by commas, without brackets and quotes")
        return models

    @model_validator(mode="after")
    def _has_the_default_model(self) -> Self:
        names = [Path(model).name for model in self.models]
        if self.default_model is not None and names and self.default_model not in names:
            models = f"{variable('models')}={join_items(self.models)}"
            raise ValueError(f"{variable('default_model')}={self.default_model} is not one of {models}")
        return self
