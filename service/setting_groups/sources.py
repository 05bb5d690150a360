"""Sources, and the processes that decode them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, field_validator

from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.authorities import read_authorities


class SourceSettings(SettingGroup):
    """Sources: which may be opened, and what decoding them may take."""

    source_allow: Annotated[tuple[IPvAnyNetwork, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["192.168.0.0/16,fd00::/8"],
        description="Private networks that sources, webhooks and subscriptions may use, besides public addresses.",
    )
    source_ca: Path | None = Field(
        default=None,
        examples=["/etc/cake/cameras.pem"],
        description="PEM file of certificates to trust in addition to the public authorities: a private authority, or"
        " the self-signed certificate of a camera. Workers read it when they start.",
    )
    source_timeout_s: float = Field(
        default=10.0,
        gt=0,
        examples=["10"],
        description="Time allowed for opening a source, and for each further frame to arrive.",
    )
    push_wait_s: float = Field(
        default=60.0,
        gt=0,
        examples=["60"],
        description="How long a push session waits for its client to start sending, or to resume sending.",
    )
    max_duration_s: float = Field(
        default=24 * 3600.0,
        gt=0,
        examples=["86400"],
        description="Longest video accepted. A longer one fails its session. Live sources have no limit.",
    )
    decoder_max_bytes: int = Field(
        default=2 * 1024**3, ge=512 * 1024**2, examples=["2147483648"], description="Address space of each decoder."
    )
    decoder_max_cpu_s: int = Field(
        default=6 * 3600,
        gt=0,
        examples=["21600"],
        description="Processor time of each decoder process. A decoder that reaches it is replaced and resumes.",
    )
    quiet: Literal["off", "auto"] = Field(
        default="off",
        examples=["auto"],
        description="`auto`: while nothing moves in front of a live camera, only the end of the network is computed, "
        "and only keyframes are decoded, if the sizes of frames reveal motion. `off`: every frame is decoded and "
        "analysed.",
    )
    snapshot_hz: float = Field(
        default=2.0, ge=0, le=5, examples=["2"], description="Snapshots per second while a session is watched."
    )

    @field_validator("source_ca")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_authorities(path)
        return path

    @property
    def address_policy(self) -> AddressPolicy:
        """Which addresses decoders may reach, with this machine's name servers as they are now."""
        return AddressPolicy(self.source_allow, read_nameservers())

    @property
    def source_policy(self) -> AddressPolicy:
        """Which addresses sources and receivers may have. Name servers are excluded, and finding them would take
        time.
        """
        return AddressPolicy(self.source_allow)
