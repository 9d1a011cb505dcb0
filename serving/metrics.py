"""What /metrics shows beyond KServe's own metrics; serving/README.md defines each of them."""

import collections
import itertools
from typing import TYPE_CHECKING

from kserve.metrics import PREDICT_HIST_TIME
from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from serving.exchange import ScoredRequest
    from serving.refusal import RequestRefused

REQUESTS = Counter(
    "perennial_requests",
    "Inference requests by protocol (v1, v2, grpc, kserve) and HTTP status, also over gRPC.",
    ["model_name", "protocol", "status"],
)
ERRORS = Counter("perennial_request_errors", "Refused or failed requests by reason.", ["model_name", "reason"])
ROWS = Counter("perennial_rows", "Rows answered, by release.", ["model_name", "release"])
UNSEEN = Counter("perennial_out_of_vocabulary", "Values never seen in training, by feature.", ["model_name", "feature"])
ACTIVE = Gauge("perennial_release_active", "1 for the release that answers.", ["model_name", "release"])
UNOBSERVED = Counter("perennial_unobserved_requests", "Answered requests dropped by full observers.", ["model_name"])
OBSERVER_ERRORS = Counter("perennial_observer_errors", "Exceptions raised by observers.", ["model_name"])


def count_answer(scored: "ScoredRequest") -> None:
    """Count an answered request, its latency, its rows, and its values never seen in training."""
    name = scored.release.name
    REQUESTS.labels(name, scored.request.protocol, "200").inc()
    PREDICT_HIST_TIME.labels(name).observe(scored.latency_s)
    ROWS.labels(name, scored.release.version).inc(scored.request.rows)
    for feature, values in collections.Counter(itertools.chain.from_iterable(scored.encoded.unseen)).items():
        UNSEEN.labels(name, feature).inc(values)


def count_refusal(name: str, protocol: str, refusal: "RequestRefused") -> None:
    """Count a request that was not answered; ``name`` is the served model's, "" before a first release."""
    REQUESTS.labels(name or "unknown", protocol, str(refusal.status)).inc()
    ERRORS.labels(name or "unknown", refusal.reason).inc()
