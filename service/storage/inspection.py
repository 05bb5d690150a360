"""Reads everything in a store and its files, and says what is wrong with it."""

from collections import Counter
from dataclasses import dataclass, field

from service.schemas import ENDED_STATES
from service.storage.blobs import Blobs
from service.storage.stored_files import UPLOADS
from service.store.protocols import Store
from service.store.records import SessionRecord

PAGE = 200


@dataclass
class Findings:
    """What was read, and what was found to be wrong. `unreadable` is filled by the store while it is read."""

    sessions: int = 0
    events: int = 0
    keys: int = 0
    files: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that this version cannot read, by kind."""
    missing_uploads: list[str] = field(default_factory=list)
    """Sessions that have not ended and whose upload is missing."""
    missing_models: list[str] = field(default_factory=list)
    """Keys of uploaded models without files."""
    orphaned_files: list[str] = field(default_factory=list)
    """Files whose session does not exist; the server deletes them within a day."""

    @property
    def is_sound(self) -> bool:
        """Whether everything is readable and nothing is missing."""
        return not (self.unreadable or self.missing_uploads or self.missing_models)


async def inspect(store: Store, blobs: Blobs, findings: Findings) -> None:
    """Read all sessions with their events, all keys, and the names of all files. Raises ServiceError."""
    uploads: set[str] = set()
    async for batch in blobs.files():
        findings.files += len(batch)
        existing = await store.sessions.existing([file.session_id for file in batch])
        findings.orphaned_files += [file.name for file in batch if file.session_id not in existing]
        uploads |= {file.session_id for file in batch if file.name == f"{UPLOADS}/{file.session_id}"}
    before: str | None = None
    while True:
        page, before = await store.sessions.page(limit=PAGE, before=before)
        for record in page:
            await _inspect_session(store, record, findings)
            if record.source.kind == "upload" and record.state not in ENDED_STATES and record.id not in uploads:
                findings.missing_uploads.append(record.id)
        if before is None:
            break
    findings.keys = len(await store.keys.all())
    written = await blobs.models.written_at()
    findings.missing_models = [model.key for model in await store.models.all() if model.key not in written]


async def _inspect_session(store: Store, record: SessionRecord, findings: Findings) -> None:
    findings.sessions += 1
    await store.log.load_resume_point(record.id)
    after: str | None = None
    while events := await store.log.read_events(record.id, after=after):
        findings.events += len(events)
        after = events[-1].id
