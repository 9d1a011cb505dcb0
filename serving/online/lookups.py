"""Complete a request: look up the features that it leaves out, by its entity."""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from components.shared.documents.feature_views import FeatureViewFacts, FeatureViews
from serving import entity as entities
from serving import metrics
from serving.entity import Entity
from serving.online import looked_up
from serving.online.feature_server import FeatureServer, StoredRow
from serving.online.looked_up import LookedUp
from serving.refusal import RequestRefused, short
from serving.release import ServedRelease
from serving.signature import Column, Signature

MOST_ENTITIES = 100
"""Most entities of a request: a lookup of so many takes Feast longer than the model takes for thousands of rows."""
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_THREADS, _MOST_WAITING = 16, 64


class IncompleteBody(Protocol):
    """What a request has of its own; see ``exchange.RequestBody``."""

    def entity(self) -> Entity | None:
        """Return whom the rows describe."""

    def event_time_us(self) -> int | None:
        """Return the moment that the features describe, None for now."""

    def features(self) -> Collection[str]:
        """Return the names of the features that the request has, as far as it can be read."""

    def columns(self, release: ServedRelease, sent: Signature) -> tuple[dict[str, Column], int]:
        """Return exactly the features of ``sent``, and the number of rows; refuse everything else."""


class CompletedRequest(NamedTuple):
    """All features of a request, and the release whose features they are."""

    columns: dict[str, Column]
    rows: int
    looked_up: LookedUp | None = None
    """What was looked up; None: the request had everything."""


class Lookups:
    """Looks features up in threads of its own, so that no other request waits for the store.

    Args:
        server: The feature server.
        request_features: Features that only clients know, which are never looked up.
        most_rows: Most rows of a request, since they are completed between two other requests.
        clock_ns: Nanoseconds since 1970 in UTC.
    """

    def __init__(
        self,
        server: FeatureServer,
        request_features: Collection[str] = (),
        *,
        most_rows: int = 1000,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._server, self._request_features, self._clock_ns = server, frozenset(request_features), clock_ns
        self._most_rows = most_rows
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="lookup")
        self._waiting = 0
        self._has_rows = False
        """Whether the store has ever had a row; until then it may be empty."""

    async def complete(self, body: IncompleteBody, release: ServedRelease) -> CompletedRequest | None:
        """Look up what a request leaves out; None if that is nothing, or nothing that is in the store.

        Raises:
            RequestRefused: If what the request has is invalid, its entity is unknown, the store does not answer, or
                what it has cannot be used.
        """
        views = release.feature_views
        absent = release.signature.names - set(body.features())
        if views is None or not absent:
            return None
        wanted = self._wanted(views, absent)
        names = frozenset(name for view in wanted for name in view.features)
        if not names:
            return None
        entity = body.entity()
        if entity is None:
            raise RequestRefused(
                400,
                f"feature {short(min(names))} is absent; send it, or the request's 'entity', by which it is looked up.",
                "absent",
            )
        columns, rows = body.columns(release, release.signature_of(release.signature.names - names))
        entities.check_rows(entity, rows)
        if rows > self._most_rows:
            raise RequestRefused(
                413, f"the request has {rows} rows; at most {self._most_rows} are looked up at once, split it.", "rows"
            )
        entity_by_row = list(entity) if isinstance(entity, tuple) else [entity] * rows
        stored = await self._stored(views, wanted, sorted(set(entity_by_row)))
        moment_us = body.event_time_us()
        moment_us = self._clock_ns() // 1000 if moment_us is None else moment_us
        by_row = {view.name: [stored[view.name][key] for key in entity_by_row] for view in wanted}
        taken = looked_up.usable(wanted, release.signature.features, by_row, entity_by_row, moment_us)
        metrics.count_expired(release.name, taken)
        return CompletedRequest({**columns, **taken.columns}, rows, taken)

    def lookable(self, release: ServedRelease) -> frozenset[str]:
        """Return the features of a release that a request may leave out."""
        views = release.feature_views
        if views is None:
            return frozenset()
        return frozenset(name for view in self._wanted(views, release.signature.names) for name in view.features)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wanted(self, views: FeatureViews, absent: frozenset[str]) -> list[FeatureViewFacts]:
        """Return the views with the features that are to be looked up; those without any are left out."""
        lookable = absent - self._request_features
        pairs = ((view, tuple(name for name in view.features if name in lookable)) for view in views.views)
        return [view.model_copy(update={"features": names}) for view, names in pairs if names]

    async def _stored(
        self, views: FeatureViews, wanted: Sequence[FeatureViewFacts], wanted_entities: Sequence[str]
    ) -> dict[str, dict[str, StoredRow | None]]:
        """Return by view the row of each entity; every view is asked, so that an entity without any row is noticed."""
        if len(wanted_entities) > MOST_ENTITIES:
            raise RequestRefused(
                413,
                f"the request is about {len(wanted_entities)} entities; the features of at most {MOST_ENTITIES} are "
                "looked up at once, split it.",
                "rows",
            )
        features = {view.name: view.features[:1] for view in views.views} | {v.name: v.features for v in wanted}
        keys = [_key(name, views) for name in wanted_entities]
        if self._waiting >= _MOST_WAITING:
            raise RequestRefused(503, "too many requests wait for the feature server; ask again.", "lookup", retry_s=1)
        self._waiting += 1
        started_s = time.perf_counter()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._server.read, views.join_key, keys, features
            )
        finally:
            self._waiting -= 1
        metrics.LOOKUP.observe(time.perf_counter() - started_s)
        self._has_rows = self._has_rows or any(row is not None for column in rows.values() for row in column)
        for index, name in enumerate(wanted_entities):
            if all(column[index] is None for column in rows.values()):
                raise self._unknown(name)
        return {view: dict(zip(wanted_entities, column, strict=True)) for view, column in rows.items()}

    def _unknown(self, entity: str) -> RequestRefused:
        if self._has_rows:
            return RequestRefused(
                404,
                f"the online store has no row of entity {short(entity)}; check it, or send the features.",
                "unknown_entity",
            )
        return RequestRefused(
            503,
            f"the online store has no row of entity {short(entity)}, nor of any that was looked up since this server "
            "started: it may be empty. Run the pipeline 'materialization', or check the entity.",
            "empty_store",
        )


def _key(entity: str, views: FeatureViews) -> str | int:
    """Return an entity as Feast's type of it."""
    if views.entity_type == "text":
        return entity
    if not _INTEGER.fullmatch(entity) or not -(2**63) <= int(entity) < 2**63:
        raise RequestRefused(
            404,
            f"entity {short(entity)} is unknown: {short(views.join_key)} is an integer of 64 bits.",
            "unknown_entity",
        )
    return int(entity)
