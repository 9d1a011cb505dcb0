"""Which versions of an endpoint answer, and with which share of the requests: ``routing.json``.

The deployment step writes it, the server follows it. A folder from before there were shares names its one version in
``active.json``; that is read as long as no ``routing.json`` replaces it.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from components.shared.documents.document import Document
from components.shared.errors import StepFailed

LEGACY_FILE = "active.json"


class Routing(Document):
    """The versions in an endpoint's folder and their shares of the requests.

    Args:
        shares: Version to percentage; they sum to 100, or are all 0 before the first release answers.
        mirrors: Versions that receive a copy of each request; their answers go nowhere.
        sticky_key: What keeps its version from request to request: the entity (a request without one is spread by
            its id), or nothing but the request itself.
        former: The version that answered before; a rollback returns to it. Its files are still in the folder.
    """

    FILE: ClassVar[str] = "routing.json"

    shares: dict[str, int] = Field(default_factory=dict)
    mirrors: tuple[str, ...] = ()
    sticky_key: Literal["entity", "request"] = "entity"
    former: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if any(not 0 <= share <= 100 for share in self.shares.values()) or sum(self.shares.values()) not in (0, 100):
            raise ValueError(f"the shares are {self.shares}; expected percentages that sum to 100, or only zeros")
        if unplaced := sorted(set(self.mirrors) - self.shares.keys()):
            raise ValueError(f"the mirrors {unplaced} are not among the versions {sorted(self.shares)}")
        return self

    @classmethod
    def to(cls, version: str | None, former: str | None = None) -> "Routing":
        """Send everything to one version (None: nothing answers)."""
        return cls(shares={} if version is None else {version: 100}, former=former)

    @property
    def versions(self) -> frozenset[str]:
        """Every version that the server keeps in memory, also those without a share."""
        return frozenset(self.shares)

    @property
    def primary(self) -> str | None:
        """The version with the largest share; None while nothing answers."""
        version = max(self.shares, key=lambda v: (self.shares[v], v), default=None)
        return version if version is not None and self.shares[version] > 0 else None

    def choose(self, key: str) -> str | None:
        """Return the version that answers a request; equal keys get equal versions.

        A version whose share grows keeps the keys that it had, so no entity is sent back and forth. None while nothing
        answers.

        >>> Routing(shares={"1": 80, "2": 20}).choose("customer-7")
        '1'
        """
        bounds = self._bounds
        if len(bounds) < 2:
            return bounds[0][1] if bounds else None
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        point = int.from_bytes(digest, "big") * 100 >> 64
        return next(version for bound, version in bounds if point < bound)

    @cached_property
    def _bounds(self) -> tuple[tuple[int, str], ...]:
        """The upper end of each version's part of 0..100, in the order of the versions."""
        bounds, end = [], 0
        for version in sorted(self.shares):
            if self.shares[version] > 0:
                end += self.shares[version]
                bounds.append((end, version))
        return tuple(bounds)


def read(endpoint: Path) -> Routing:
    """Return the routing of an endpoint's folder; an empty one before the first release."""
    try:
        return Routing.read(endpoint / Routing.FILE)
    except FileNotFoundError:
        return _legacy(endpoint / LEGACY_FILE)


def write(endpoint: Path, routing: Routing) -> None:
    """Replace the routing; the server follows within a moment."""
    routing.write(endpoint / Routing.FILE)
    (endpoint / LEGACY_FILE).unlink(missing_ok=True)


def answering(endpoint: Path) -> str | None:
    """Return the version that answers most requests, None before the first release."""
    return read(endpoint).primary


def _legacy(path: Path) -> Routing:
    try:
        return Routing.to(str(json.loads(path.read_text(encoding="utf-8"))["version"]))
    except FileNotFoundError:
        return Routing()
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"{path} is not valid ({error!r}); remove it and release again.") from error
