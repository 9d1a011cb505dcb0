"""The one place where a request is answered, whichever protocol carried it.

1. Resolve the request id and the entity.
2. Pick the release.
3. Decode the columns by the release's signature.
4. Encode the features, score and decide; this is what the latency measures.
5. Encode the answer, count and log the request, and hand it to the observers.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from components.shared.package.contributions import Contributions
from components.shared.package.regions import Regions
from serving import entity as entities
from serving import finite, metrics
from serving.access import Admission
from serving.access_log import Access, AccessLog
from serving.counting import TrafficCounter
from serving.ending import Ending
from serving.entity import Entity
from serving.exploration import Exploration, Explored
from serving.limits import BytesInFlight
from serving.observers import Observers
from serving.online.looked_up import LookedUp
from serving.online.lookups import CompletedRequest, Lookups
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from serving.request_id import UuidV7Generator
from serving.served import Served
from serving.signature import Column, EncodedRows, Signature

logger = logging.getLogger(__name__)

_LONGEST_NAME = 128
LARGE_BYTES = 128 * 1024
"""A larger request is answered in a thread, so that it does not delay the small ones."""
MOST_EXPLAINED = 16
"""Rows that are explained at once: each costs as much as thousands of rows that are only scored."""

# The values below are named tuples: as immutable as frozen dataclasses, and built four times as fast.
Content = TypeVar("Content")
ContentOut = TypeVar("ContentOut", covariant=True)


class RequestHead(NamedTuple):
    """What is known of a request before its body is read; ``explains`` says that it asks for contributions.

    ``protocol`` is "v1", "v2", "vertex" or "grpc", or "http" if the request did not get as far; ``request_id`` comes
    from a header, None if there is none. ``started_s`` is when it began, by the exchange's timer.
    """

    protocol: str
    model: str
    version: str | None
    request_id: str | None
    size_bytes: int
    started_s: float
    explains: bool = False


class InferenceRequest(NamedTuple):
    """One decoded request: exactly the signature's features, each with ``rows`` values.

    ``event_time_us`` is microseconds since 1970 in UTC, None if the features describe the time of the request.
    """

    request_id: str
    protocol: str
    model: str
    version: str | None
    entity: Entity | None
    event_time_us: int | None
    columns: Mapping[str, Column]
    rows: int
    looked_up: LookedUp | None = None
    """What of the columns was looked up; None: the request had all of them."""


class ScoredRequest(NamedTuple):
    """A request and its answer: the encoded features, the release that scored them, and the time that took.

    ``shadow`` says that another release answered the client; ``contributions`` and ``regions`` are None unless they
    were requested. ``scores`` is (rows,) or (rows, classes); ``decisions`` is the model's, None where it takes none;
    ``explored`` is what is answered instead, None where decisions are not explored. ``received_at_ns`` is nanoseconds
    since 1970 in UTC; ``latency_s`` covers encoding the features, scoring and deciding.
    """

    request: InferenceRequest
    release: ServedRelease
    encoded: EncodedRows
    scores: np.ndarray
    decisions: list[Any] | None
    received_at_ns: int
    latency_s: float
    explored: Explored | None = None
    shadow: bool = False
    contributions: list[Contributions] | None = None
    regions: Regions | None = None

    @property
    def answered(self) -> list[Any] | None:
        """Return the decisions of the answer."""
        return self.decisions if self.explored is None else self.explored.answered


class RequestBody(Protocol[ContentOut]):
    """The body of a request in one protocol: decodes the request and encodes the answer."""

    def request_id(self) -> str | None:
        """Return the id in the body, None if there is none."""

    def entity(self) -> Entity | None:
        """Return whom the rows describe, None if the request does not say."""

    def event_time_us(self) -> int | None:
        """Return the time that the features describe, None if the request does not say."""

    def interval(self) -> float | None:
        """Return the share of labels that intervals or sets must hold, None if the request asks for none."""

    def features(self) -> Collection[str]:
        """Return the names of the features that the request has, as far as it can be read."""

    def columns(self, release: ServedRelease, sent: Signature | None = None) -> tuple[dict[str, Column], int]:
        """Return the features as columns, and the number of rows; everything the protocol itself forbids is refused.

        Args:
            release: Whose features.
            sent: The part of its signature that the request must have; None is all of it.
        """

    def encode(self, scored: ScoredRequest) -> ContentOut:
        """Write the answer."""


class Picked(NamedTuple):
    """The release that answers a request, and all its features if some were looked up for this release."""

    release: ServedRelease
    completed: CompletedRequest | None = None


class Reply(NamedTuple, Generic[Content]):
    """What goes back: the content where ``status`` is 200, otherwise the refusal."""

    request_id: str
    status: int
    content: Content | None
    refusal: RequestRefused | None


class RequestLog(Protocol):
    """A log of answered requests."""

    def append(self, scored: ScoredRequest) -> None:
        """Take one request; must neither wait nor raise."""

    def close(self) -> None:
        """Write what is not written yet, and end."""


class Exchange:
    """Answer requests from the releases in memory.

    Args:
        served: The releases.
        generate_id: Returns a new request id.
        clock_ns: Nanoseconds since 1970 in UTC.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(
        self,
        served: Served,
        *,
        generate_id: Callable[[], str] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        timer_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.served = served
        self.observers = Observers()
        self.log: RequestLog | None = None
        """Takes every answered request before the answer leaves; None logs nothing."""
        self.accesses: AccessLog | None = None
        """Takes a line of every request, answered or refused; None logs nothing."""
        self.exploration = Exploration()
        self.lookups: Lookups | None = None
        """Looks up the features that a request leaves out; None refuses such a request."""
        self.admission: Admission | None = None
        """Lets clients in; None lets everybody in."""
        self.in_flight = BytesInFlight()
        self.ending = Ending()
        self.announced = False
        """Whether the server's address is known to whoever waits for it."""
        self.counter = TrafficCounter()
        """Counts by release while one is compared with another."""
        self._generate_id = generate_id or UuidV7Generator()
        self._clock_ns = clock_ns
        self.timer_s = timer_s
        finite.ignore_overflow()
        self._threads = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="large-request", initializer=finite.ignore_overflow
        )

    @property
    def ready(self) -> bool:
        """Whether clients may be sent here: a release answers, the address is known, and the end is not near."""
        return self.served.active is not None and self.announced and not self.ending.began

    async def answer(self, head: RequestHead, read: Callable[[], RequestBody[Content]]) -> Reply[Content]:
        """Answer one request, a large or expensive one in a thread.

        Args:
            head: What is known of the request.
            read: Parses the body; may raise RequestRefused.
        """
        if self.lookups is not None:
            return await self._answer_completed(head, read, self.lookups)
        if _is_slow(head):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.answer_now, head, read)
        return self.answer_now(head, read)

    async def _answer_completed(
        self, head: RequestHead, read: Callable[[], RequestBody[Content]], lookups: Lookups
    ) -> Reply[Content]:
        """Answer one request after what it leaves out was looked up for the release that it picks."""
        loop, release = asyncio.get_running_loop(), None
        try:
            body = await loop.run_in_executor(self._threads, read) if _is_slow(head) else read()
            head = head._replace(request_id=body.request_id() or head.request_id or self._generate_id())
            release = self.served.pick(head.model, head.version, self._sticky_key(body.entity(), str(head.request_id)))
            completed = await lookups.complete(body, release)
        except RequestRefused as refusal:
            self._count_refusal(head, release, refusal)
            return self.refuse(head, refusal)
        except Exception as error:
            self._count_refusal(head, release, error)
            return self.fail(head)
        picked = Picked(release, completed)
        if _is_slow(head):
            return await loop.run_in_executor(self._threads, self.answer_now, head, lambda: body, picked)
        return self.answer_now(head, lambda: body, picked)

    def head(
        self,
        protocol: str,
        model: str = "",
        version: str | None = None,
        request_id: str | None = None,
        size: int = 0,
        *,
        explains: bool = False,
    ) -> RequestHead:
        """Return the head of a request that begins now; ``size`` is that of its body in bytes, as far as known."""
        return RequestHead(protocol, model, version, request_id, size, self.timer_s(), explains)

    def refuse(self, head: RequestHead, refusal: RequestRefused, request_id: str | None = None) -> Reply[Any]:
        """Refuse, count and log a request."""
        request_id = request_id or head.request_id or self._generate_id()
        metrics.count_refusal(self.served.name, head.protocol, refusal)
        self._accessed(head, request_id, "", refusal.status, refusal.reason, 0)
        return Reply(request_id, refusal.status, None, refusal)

    def fail(self, head: RequestHead, request_id: str | None = None) -> Reply[Any]:
        """Log the exception being handled, which is a bug, and answer with status 500."""
        request_id = request_id or head.request_id or self._generate_id()
        logger.exception("request %r over %s failed unexpectedly", request_id, head.protocol)
        bug = RequestRefused(500, f"the server failed unexpectedly; its log has the details of {request_id!r}.", "bug")
        return self.refuse(head, bug, request_id)

    def _accessed(self, head: RequestHead, request_id: str, release: str, status: int, reason: str, rows: int) -> None:
        if self.accesses is not None:
            took_s = self.timer_s() - head.started_s
            # The client chose the name, which may be as long as the longest message.
            model = head.model[:_LONGEST_NAME]
            line = Access(
                self._clock_ns(),
                request_id,
                head.protocol,
                model,
                release,
                status,
                reason,
                rows,
                head.size_bytes,
                took_s,
            )
            self.accesses.append(line)

    def answer_now(
        self, head: RequestHead, read: Callable[[], RequestBody[Content]], picked: Picked | None = None
    ) -> Reply[Content]:
        """Answer one request in this thread; ``answer`` does not, for a large or expensive one.

        Args:
            head: What is known of the request.
            read: Parses the body; may raise RequestRefused.
            picked: The release that answers, where it is known already.
        """
        request_id = head.request_id
        try:
            body = read()
            request_id = body.request_id() or request_id or self._generate_id()
            scored = self._score(head, request_id, body, picked)
            content = body.encode(scored)
        except RequestRefused as refusal:
            return self.refuse(head, refusal, request_id)
        except Exception:
            return self.fail(head, request_id)
        if head.explains:
            # It asks about a score and does not act on one: it is no traffic of the model.
            metrics.count_explanation(scored)
        else:
            metrics.count_answer(scored)
            if self.log is not None:
                self.log.append(scored)
            self.observers.publish(scored)
        self._accessed(head, request_id, scored.release.version, 200, "", scored.request.rows)
        return Reply(request_id, 200, content, None)

    def _score(
        self, head: RequestHead, request_id: str, body: RequestBody[Any], picked: Picked | None
    ) -> ScoredRequest:
        entity, event_time_us = body.entity(), body.event_time_us()
        if picked is None:
            picked = Picked(self.served.pick(head.model, head.version, self._sticky_key(entity, request_id)))
        release = picked.release
        limit = release.signature.request_bytes
        if head.size_bytes > limit:
            raise RequestRefused(413, f"the request has {head.size_bytes} bytes; the limit is {limit}.", "bytes")
        try:
            scored = self._score_with(picked, head, request_id, body, entity, event_time_us)
        except Exception as error:
            self._count_refusal(head._replace(request_id=request_id), release, error)
            raise
        if self._is_counted(head, release, request_id):
            self.counter.answered(release.version, scored.latency_s, scored.scores)
        return scored

    def _is_counted(self, head: RequestHead, release: ServedRelease, request_id: str) -> bool:
        return not head.version and not head.explains and self.counter.counts(release.version, request_id)

    def _count_refusal(self, head: RequestHead, release: ServedRelease | None, error: Exception) -> None:
        """Count a request that a release did not answer, whatever it failed at; nothing if none was picked."""
        if release is not None and self._is_counted(head, release, str(head.request_id)):
            self.counter.refused(release.version, error.reason if isinstance(error, RequestRefused) else "bug")

    def _score_with(
        self,
        picked: Picked,
        head: RequestHead,
        request_id: str,
        body: RequestBody[Any],
        entity: Entity | None,
        event_time_us: int | None,
    ) -> ScoredRequest:
        release = picked.release
        columns, rows, looked_up = picked.completed or CompletedRequest(*body.columns(release))
        level = body.interval()
        entities.check_rows(entity, rows)
        if head.explains and rows > MOST_EXPLAINED:
            raise RequestRefused(
                413, f"the request has {rows} rows; at most {MOST_EXPLAINED} are explained at once, split it.", "rows"
            )
        request = InferenceRequest(
            request_id, head.protocol, head.model, head.version, entity, event_time_us, columns, rows, looked_up
        )
        received_at_ns, start = self._clock_ns(), self.timer_s()
        encoded = release.signature.encode(columns, rows)
        scores = release.score(encoded)
        decisions = release.decide(scores)
        regions = None if level is None else release.regions(scores, level)
        contributions = release.contributions(encoded, rows) if head.explains else None
        explored = decisions and not head.explains and self.exploration.explore(request_id, decisions, release.classes)
        latency_s = self.timer_s() - start
        return ScoredRequest(
            request,
            release,
            encoded,
            scores,
            decisions,
            received_at_ns,
            latency_s,
            explored or None,
            contributions=contributions,
            regions=regions,
        )

    def _sticky_key(self, entity: Entity | None, request_id: str) -> str:
        """Return what the routing chooses by; a request whose rows are about several entities is not split."""
        if self.served.routing.sticky_key != "entity" or entity is None:
            return request_id
        if isinstance(entity, str):
            return entity
        return entity[0] if len(set(entity)) == 1 else request_id


def _is_slow(head: RequestHead) -> bool:
    return head.size_bytes > LARGE_BYTES or head.explains
