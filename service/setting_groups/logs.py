"""Logs, metrics and traces."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from service.setting_groups.group import SettingGroup

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogSettings(SettingGroup):
    """Logs, metrics and traces: what is recorded, and where."""

    log_level: Annotated[
        LogLevel, BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
    ] = Field(default="INFO", examples=["INFO"], description="Lowest level that is logged.")
    log_json: bool | None = Field(
        default=None,
        examples=["true"],
        description="Whether log lines are JSON. The default is JSON unless stderr is a terminal.",
    )
    audit_log: Path | None = Field(
        default=None,
        examples=["/var/log/cake/audit.jsonl"],
        description="File that records who submitted, viewed, changed or deleted what, as JSON lines. The default is"
        " `audit.jsonl` in the data folder. It is rotated at 10 MiB, and 10 old files are kept.",
    )
    session_metrics: int = Field(
        default=0,
        ge=0,
        le=10_000,
        examples=["100"],
        description="Largest number of live sessions that `/metrics/sessions` shows, each with its id and name; 0 turns"
        " it off. Reading it requires the scope `metrics:sessions`.",
    )
    traces: bool = Field(
        default=False,
        examples=["true"],
        description="Send OpenTelemetry traces to the endpoint that the OTEL_EXPORTER_OTLP_ variables name. Requires"
        " the extra `otel`.",
    )
