"""Requests of each deployed model, as Cloud Monitoring counts them.

It samples once a minute and shows a sample after some minutes. Counted are answers by their status and answers by their
latency; scores are not.
"""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.shared.documents.traffic_counts import LATENCY_EDGES_MS, TrafficCounts, VersionCounts
from components.shared.release.vertex.endpoint import version_of
from components.shared.vertex import TIMEOUT_S, Connection

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import Endpoint

logger = logging.getLogger(__name__)

_METRIC = "aiplatform.googleapis.com/prediction/online/"
_RESPONSES, _LATENCIES = f"{_METRIC}response_count", f"{_METRIC}prediction_latencies"


class RequestCounts:
    """The requests in one project.

    Args:
        connection: Its project and credentials.
        origin: Scheme and host of Cloud Monitoring.
    """

    def __init__(self, connection: Connection, origin: str) -> None:
        self._connection, self._origin = connection, origin.rstrip("/")

    def read(self, endpoint: "Endpoint", candidate: str) -> TrafficCounts | None:
        """Count what each deployed version got since the candidate was deployed.

        Returns:
            None if the candidate is not deployed, or Cloud Monitoring can't be read.
        """
        import requests
        from google.auth.exceptions import GoogleAuthError

        versions = {model.id: version_of(model) for model in endpoint.deployed_models}
        began = {version_of(model): model.create_time for model in endpoint.deployed_models}.get(candidate)
        if began is None:
            return None
        try:
            responses = list(self._series(_RESPONSES, versions, began))
            latencies = list(self._series(_LATENCIES, versions, began))
        except (requests.RequestException, GoogleAuthError, ValueError) as error:
            logger.warning(
                "Cloud Monitoring can't be read (%s); it needs the role roles/monitoring.viewer.", str(error)[:200]
            )
            return None
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for labels, values in responses:
            outcome = _outcome(labels.get("response_code", ""))
            counts[versions[labels["deployed_model_id"]]][outcome] += sum(int(v["int64Value"]) for v in values)
        slow: dict[str, list[int]] = {version: [0] * (len(LATENCY_EDGES_MS) + 1) for version in versions.values()}
        for labels, values in latencies:
            if labels.get("latency_type", "total") == "total":
                for value in values:
                    _add(slow[versions[labels["deployed_model_id"]]], value["distributionValue"])
        shares = {version: endpoint.traffic_split.get(key, 0) for key, version in versions.items()}
        counted = {
            version: VersionCounts(**counts[version], latencies=tuple(slow[version])) for version in versions.values()
        }
        return TrafficCounts(server=f"{endpoint.name} since {began.isoformat()}", versions=counted, shares=shares)

    def _series(
        self, metric: str, versions: Mapping[str, str], began: datetime
    ) -> Iterator[tuple[Mapping[str, str], list[dict[str, Any]]]]:
        """Return the labels and values of each time series of a metric of these deployed models."""
        from google.auth.transport.requests import AuthorizedSession

        ids = ",".join(f'"{deployed}"' for deployed in sorted(versions))
        query = {
            "filter": f'metric.type="{metric}" AND resource.type="aiplatform.googleapis.com/Endpoint" AND '
            f"metric.labels.deployed_model_id=one_of({ids})",
            "interval.startTime": began.astimezone(UTC).isoformat(),
            "interval.endTime": datetime.now(UTC).isoformat(),
            "view": "FULL",
        }
        address = f"{self._origin}/v3/projects/{self._connection.project}/timeSeries"
        with AuthorizedSession(self._connection.credentials) as session:  # type: ignore[no-untyped-call]
            while True:
                answer = session.get(address, params=query, timeout=TIMEOUT_S)
                answer.raise_for_status()
                page = answer.json()
                for series in page.get("timeSeries", ()):
                    yield series["metric"]["labels"], [point["value"] for point in series["points"]]
                if not page.get("nextPageToken"):
                    return
                query["pageToken"] = page["nextPageToken"]


def _outcome(code: str) -> str:
    """Return the field of ``VersionCounts`` that a status is counted in.

    >>> _outcome("200"), _outcome("400"), _outcome("503"), _outcome("")
    ('answered', 'refused', 'failed', 'failed')
    """
    return {"2": "answered", "4": "refused"}.get(code[:1], "failed")


def _add(counts: list[int], distribution: Mapping[str, Any]) -> None:
    """Add a distribution of microseconds to counts between ``LATENCY_EDGES_MS``, each bucket at its upper bound."""
    bounds = _upper_bounds_us(distribution.get("bucketOptions", {}))
    for index, count in enumerate(map(int, distribution.get("bucketCounts", ()))):
        upper_ms = bounds[index] / 1000 if index < len(bounds) else float("inf")
        counts[bisect_left(LATENCY_EDGES_MS, upper_ms)] += count


def _upper_bounds_us(options: Mapping[str, Any]) -> list[float]:
    """Return the upper bounds of all buckets but the last, which has none.

    >>> _upper_bounds_us({"exponentialBuckets": {"numFiniteBuckets": 2, "growthFactor": 2, "scale": 1000}})
    [1000.0, 2000.0, 4000.0]
    """
    if "explicitBuckets" in options:
        return [float(bound) for bound in options["explicitBuckets"].get("bounds", ())]
    if "exponentialBuckets" in options:
        buckets = options["exponentialBuckets"]
        scale, growth = float(buckets["scale"]), float(buckets["growthFactor"])
        return [scale * growth**exponent for exponent in range(int(buckets["numFiniteBuckets"]) + 1)]
    buckets = options.get("linearBuckets", {})
    offset, width = float(buckets.get("offset", 0)), float(buckets.get("width", 0))
    return [offset + width * index for index in range(int(buckets.get("numFiniteBuckets", -1)) + 1)]
