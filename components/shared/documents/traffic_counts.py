"""``GET /v2/models/NAME/stats``: what a server counted of each version that is compared with another."""

from pydantic import Field

from components.shared.documents.document import Document, Part

LATENCY_EDGES_MS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0)
"""Upper edges of the counted latencies; one more count holds what took longer."""


class VersionCounts(Part):
    """The requests that one version got.

    Args:
        answered: Requests that it answered.
        failed: Requests that it failed through no fault of the client: an exception, or a score that is not finite.
        refused: Requests that it refused as invalid.
        latencies: Answered requests by latency, between ``LATENCY_EDGES_MS``.
        scores: Rows by score, between the edges of ``TrafficCounts.score_edges``; empty while there are none.
    """

    answered: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    refused: int = Field(default=0, ge=0)
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_EDGES_MS) + 1)
    scores: tuple[int, ...] = ()

    @property
    def requests(self) -> int:
        """All requests that it got."""
        return self.answered + self.failed + self.refused

    def __add__(self, other: "VersionCounts") -> "VersionCounts":
        """Return the sum; where the ranges of the scores differ, those that were counted last."""
        same = len(self.scores) == len(other.scores)
        return VersionCounts(
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            refused=self.refused + other.refused,
            latencies=tuple(a + b for a, b in zip(self.latencies, other.latencies, strict=True)),
            scores=tuple(a + b for a, b in zip(self.scores, other.scores, strict=True))
            if same
            else other.scores or self.scores,
        )

    def since(self, before: "VersionCounts") -> "VersionCounts":
        """Subtract what was counted before; scores that were not counted in ranges then are new."""
        return VersionCounts(
            answered=self.answered - before.answered,
            failed=self.failed - before.failed,
            refused=self.refused - before.refused,
            latencies=tuple(now - then for now, then in zip(self.latencies, before.latencies, strict=True)),
            scores=tuple(now - then for now, then in zip(self.scores, before.scores, strict=True))
            if before.scores
            else self.scores,
        )


class ShadowCounts(Part):
    """The rows that a shadow scored after another version had answered them.

    Args:
        rows: Rows that both scored.
        disagreements: Rows of them with another decision.
        dropped: Requests that were not copied to it, because too many waited.
    """

    rows: int = Field(default=0, ge=0)
    disagreements: int = Field(default=0, ge=0)
    dropped: int = Field(default=0, ge=0)


class TrafficCounts(Document):
    """Counts of a running server.

    Args:
        server: Changes when the counts start from zero, as after a restart of the server.
        versions: Version to its counts.
        shadows: Version to what it did as a shadow.
        score_edges: Edges of the ranges of the scores: deciles of the first scores of the version that answered most,
            empty until there are enough; of a server with one version, fine ranges that are the same everywhere.
        shares: Version to its percentage of the requests, as the server follows it now.
        mirrors: Versions that get a copy of each request.
    """

    FILE = "stats.json"

    server: str
    versions: dict[str, VersionCounts] = Field(default_factory=dict)
    shadows: dict[str, ShadowCounts] = Field(default_factory=dict)
    score_edges: tuple[float, ...] = ()
    shares: dict[str, int] = Field(default_factory=dict)
    mirrors: tuple[str, ...] = ()
