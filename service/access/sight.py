"""Which sessions a caller sees: the one rule that routes, streams and subscriptions apply."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from service.access.scopes import Scope
from service.schemas import MetadataKey

Values = Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=100)]


def _sorted(metadata: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Equal limits compare equal, however they were written."""
    return {key: tuple(sorted(set(values))) for key, values in sorted(metadata.items())}


MetadataLimit = Annotated[dict[MetadataKey, Values], Field(min_length=1, max_length=20), AfterValidator(_sorted)]
"""The values that a session's metadata may have, by key."""


@dataclass(frozen=True)
class Sight:
    """All sessions; with `owner`, those that this API key submitted; with `metadata`, the sessions of every key whose
    current metadata have one of the values for each name.
    """

    owner: str | None = None
    metadata: tuple[tuple[str, frozenset[str]], ...] = ()

    @classmethod
    def of_metadata(cls, limit: Mapping[str, Iterable[str]]) -> Self:
        """The sessions that a role or API key is limited to."""
        return cls(metadata=tuple((key, frozenset(values)) for key, values in limit.items()))

    def shows(self, owner: str | None, metadata: Mapping[str, str]) -> bool:
        """Whether a session of this owner with these metadata is seen."""
        if self.owner not in (None, owner):
            return False
        return all(metadata.get(key) in values for key, values in self.metadata)


ALL = Sight()


def require_limitable(scopes: Collection[Scope], metadata: MetadataLimit | None) -> None:
    """Whoever manages keys could create one without the limit. Raises ValueError."""
    if metadata is not None and Scope.ADMIN in scopes:
        raise ValueError("has the scope admin, which `metadata` cannot limit")
