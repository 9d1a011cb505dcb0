"""What /metrics shows beyond KServe's own metrics; serving/README.md defines each of them."""

import collections
import functools
import itertools
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from serving.exchange import ScoredRequest
    from serving.online.looked_up import LookedUp
    from serving.refusal import RequestRefused

LATENCY_EDGES_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
"""Every latency that a project may promise (``monitoring.slo.latency_ms``) is one of these."""

REQUESTS = Counter(
    "perennial_requests",
    "Inference requests by protocol (v1, v2, vertex, grpc, http) and HTTP status, also over gRPC.",
    ["model_name", "protocol", "status"],
)
ERRORS = Counter("perennial_request_errors", "Refused or failed requests by reason.", ["model_name", "reason"])
LATENCY = Histogram(
    "perennial_request_seconds",
    "Time from the decoded request to its decision, of answered requests.",
    ["model_name"],
    buckets=[edge / 1000 for edge in LATENCY_EDGES_MS],
)
EXPLANATION = Histogram(
    "perennial_explanation_seconds",
    "Time from the decoded request to the contributions of all its rows.",
    ["model_name"],
    buckets=[edge / 1000 for edge in LATENCY_EDGES_MS],
)
LOOKUP = Histogram(
    "perennial_lookup_seconds",
    "Time that the feature server took to answer.",
    buckets=[edge / 1000 for edge in LATENCY_EDGES_MS],
)
EXPIRED = Counter(
    "perennial_expired_rows",
    "Rows whose features were missing because a view's row had expired.",
    ["model_name", "view"],
)
ROWS = Counter("perennial_rows", "Rows answered, by release.", ["model_name", "release"])
UNSEEN = Counter("perennial_out_of_vocabulary", "Values never seen in training, by feature.", ["model_name", "feature"])
ACTIVE = Gauge("perennial_release_active", "Share of requests per release, 0 to 1.", ["model_name", "release"])
UNOBSERVED = Counter("perennial_unobserved_requests", "Answered requests dropped by full observers.", ["model_name"])
UNLOGGED = Counter("perennial_unlogged_requests", "Answered requests that are not in the log.", ["model_name"])
DROPPED_LINES = Counter("perennial_dropped_log_lines", "Lines that a full or slow disk did not take.", ["log"])
OBSERVER_ERRORS = Counter("perennial_observer_errors", "Exceptions raised by observers.", ["model_name"])


def count_answer(scored: "ScoredRequest") -> None:
    """Count an answered request, its latency, its rows, and its values never seen in training."""
    requests, latency, rows = _answered(scored.release.name, scored.release.version, scored.request.protocol)
    requests.inc()
    latency.observe(scored.latency_s)
    rows.inc(scored.request.rows)
    if scored.encoded.unseen:
        features = itertools.chain.from_iterable(scored.encoded.unseen.values())
        for feature, values in collections.Counter(features).items():
            UNSEEN.labels(scored.release.name, feature).inc(values)


def count_explanation(scored: "ScoredRequest") -> None:
    """Count an explained request and its time; its rows are not traffic."""
    REQUESTS.labels(scored.release.name, scored.request.protocol, "200").inc()
    EXPLANATION.labels(scored.release.name).observe(scored.latency_s)


def count_expired(name: str, looked_up: "LookedUp") -> None:
    """Count by view the rows that were looked up, and not used."""
    for ages in looked_up.ages:
        for view, age in ages.items():
            if age.is_expired:
                EXPIRED.labels(name, view).inc()


@functools.lru_cache(maxsize=256)
def _answered(name: str, version: str, protocol: str) -> tuple[Counter, Histogram, Counter]:
    """Look the labelled children up once; prometheus_client needs longer for that than for counting."""
    return REQUESTS.labels(name, protocol, "200"), LATENCY.labels(name), ROWS.labels(name, version)


def count_refusal(name: str, protocol: str, refusal: "RequestRefused") -> None:
    """Count a request that was not answered; ``name`` is the served model's, "" before a first release."""
    REQUESTS.labels(name or "unknown", protocol, str(refusal.status)).inc()
    ERRORS.labels(name or "unknown", refusal.reason).inc()
