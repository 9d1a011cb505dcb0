"""What /metrics says beyond KServe's latency histograms."""

import collections
import itertools
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from serving.release import Answer

REQUESTS = Counter(
    "perennial_requests", "Inference requests by protocol and status.", ["model_name", "protocol", "status"]
)
ERRORS = Counter("perennial_request_errors", "Refused or failed requests by reason.", ["model_name", "reason"])
ROWS = Counter("perennial_rows", "Rows answered, by release.", ["model_name", "release"])
UNSEEN = Counter("perennial_out_of_vocabulary", "Values never seen in training, by feature.", ["model_name", "feature"])
ACTIVE = Gauge("perennial_release_active", "1 for the release that answers.", ["model_name", "release"])


def count_rows(name: str, answer: "Answer") -> None:
    """Count the rows of an answer, and its values never seen."""
    ROWS.labels(name, answer.version).inc(len(answer.unseen))
    for feature, values in collections.Counter(itertools.chain.from_iterable(answer.unseen)).items():
        UNSEEN.labels(name, feature).inc(values)
