"""Clips of actions."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED, MAX_KEEP_S, SECONDS_BY_NAME

ALL_CLIPS = "all"
"""Value of `clips` that means the clips of every action."""


class ClipSettings(SettingGroup):
    """Clips: of which actions they are kept, how long they are, and how long they are kept."""

    clips: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["fall,fight", "all"],
        description="Actions whose clips are kept for cameras, URLs and pushed streams: labels, `all` or `off`. The "
        "default is none, because clips show people and take space. Clips of uploads take no space and need no "
        "setting.",
    )
    clip_before_s: float = Field(
        default=5.0, ge=0, le=60, examples=["5"], description="How long before an action's start its clip begins."
    )
    clip_after_s: float = Field(
        default=10.0, gt=0, le=120, examples=["10"], description="How long after an action's start its clip ends."
    )
    clip_missed_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        examples=["30"],
        description="How long ago an action may have started for its clip to be kept when a person reports it as "
        "missed. Decoders of sources with clips keep so much of their stream in memory: about 4.5 MB for each Mbit/s "
        "of the stream at 30 s, 1.6 MB at 0, which keeps what clips of events need; at most CAKE_CLIP_MAX_BYTES.",
    )
    clip_max_bytes: int = Field(
        default=16 * 1024**2,
        ge=64 * 1024,
        examples=["16777216"],
        description="Largest clip, and the most that a decoder keeps of its stream for clips.",
    )
    clips_keep_s: float = Field(
        default=7 * 24 * 3600.0,
        ge=0,
        le=MAX_KEEP_S,
        examples=["604800"],
        description="Age at which clips are deleted, if their session is not deleted earlier; 0 keeps them.",
    )
    clips_keep_of_s: Annotated[
        Mapping[str, Annotated[float, Field(ge=0, le=MAX_KEEP_S)]],
        *SECONDS_BY_NAME,
    ] = Field(
        default={},
        examples=["fall=2592000,fight=86400"],
        description="For individual actions, the age at which their clips are deleted, instead of CAKE_CLIPS_KEEP_S.",
    )
    clips_max_bytes: int = Field(
        default=10 * 1024**3,
        ge=0,
        examples=["10737418240"],
        description="Size of all clips above which the oldest are deleted.",
    )

    def keeps_clips_of(self, label: str) -> bool:
        """Whether clips of this action are kept for sources that are not kept themselves."""
        return label in self.clips or ALL_CLIPS in self.clips
