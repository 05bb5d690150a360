"""What a session's files are called in the data folder and in a bucket."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

UPLOADS, SNAPSHOTS, CLIPS = "uploads", "snapshots", "clips"
STILL = ".jpg"
"""End of the names of stills, which are stored with the clips."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a session: its upload, its snapshot, a clip, a still, or a temporary copy of the upload."""

    name: str
    """Path below the data folder or below the bucket's prefix."""
    modified_at: datetime
    size_bytes: int
    is_local: bool
    """Whether it lies in the data folder of this machine although there is a bucket."""

    @property
    def session_id(self) -> str:
        """The session that the file, or its folder, is named after."""
        if self.name.startswith(f"{CLIPS}/"):
            return self.name.split("/")[1]
        return self.name.rpartition("/")[2].partition(".")[0]


@dataclass(frozen=True)
class StoredClip:
    """The stored clip of an event or of a missed action, whose id is `event_id`.

    `from_s` is the media time of its first frame.
    """

    session_id: str
    event_id: str
    from_s: float
    label_digest: str | None = None
    """That of the action, by which its clips are kept; None in clips of older versions."""

    @property
    def name(self) -> str:
        """Path below the data folder or below the bucket's prefix."""
        label = "" if self.label_digest is None else f".{self.label_digest}"
        return f"{clips_folder(self.session_id)}{self.event_id}.{round(self.from_s * 1000)}{label}.mp4"

    @property
    def still_name(self) -> str:
        """Path of the still that was cut out of it."""
        return f"{self.name.removesuffix('.mp4')}{STILL}"

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The clip with this path; None if it is not the path of a clip."""
        found = re.fullmatch(
            rf"{CLIPS}/([^/]+)/([0-9]+-[0-9]+|missed-[0-9a-f]{{32}})\.([0-9]+)(?:\.([0-9a-f]+))?\.mp4", name
        )
        return None if found is None else cls(found[1], found[2], int(found[3]) / 1000, found[4])


def label_digest(label: str) -> str:
    """The label in names of files: it may contain any characters."""
    return hashlib.sha256(label.encode()).hexdigest()[:12]


def upload_name(session_id: str) -> str:
    """Path of a session's uploaded video."""
    return f"{UPLOADS}/{session_id}"


def clips_folder(session_id: str) -> str:
    """Path of the folder of a session's clips, with a slash at the end."""
    return f"{CLIPS}/{session_id}/"


def still_of_upload_name(session_id: str, event_id: str) -> str:
    """Path of the still that was cut out of an uploaded video."""
    return f"{clips_folder(session_id)}{event_id}{STILL}"


def snapshot_name(session_id: str) -> str:
    """Path of a session's latest snapshot."""
    return f"{SNAPSHOTS}/{session_id}.jpg"
