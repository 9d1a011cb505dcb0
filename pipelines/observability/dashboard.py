"""The Grafana dashboard of a model: service, data, model and incidents on one page, for any model."""

import json
from dataclasses import dataclass
from typing import Any

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_MODEL = 'model_name="$model"'
_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 8


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: What it shows.
        queries: PromQL to the legend of its series.
        unit: Grafana's unit.
        kind: Grafana's type of panel.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Service": (
        Panel(
            "Requests per second, by status",
            {f"sum by (status) (rate(perennial_requests_total{{{_MODEL}}}[5m]))": "{{status}}"},
            "reqps",
        ),
        Panel(
            "Latency",
            {
                f"histogram_quantile({q}, sum by (le) (rate(perennial_request_seconds_bucket{{{_MODEL}}}[5m])))": name
                for q, name in ((0.5, "median"), (0.99, "99 %"))
            },
            "s",
        ),
        Panel(
            "Failures as a share, last hour",
            {f"perennial:slo_failures:ratio_rate1h{{{_MODEL}}}": "{{slo}}"},
            "percentunit",
        ),
        Panel(
            "Rows per second, by release",
            {f"sum by (release) (rate(perennial_rows_total{{{_MODEL}}}[5m]))": "{{release}}"},
        ),
        Panel(
            "Refusals per second, by reason",
            {f"sum by (reason) (rate(perennial_request_errors_total{{{_MODEL}}}[5m]))": "{{reason}}"},
        ),
        Panel(
            "Requests that are not logged or observed, per minute",
            {
                f"60 * sum(rate(perennial_unlogged_requests_total{{{_MODEL}}}[15m]))": "not logged",
                f"60 * sum(rate(perennial_unobserved_requests_total{{{_MODEL}}}[15m]))": "not observed",
            },
        ),
    ),
    "Data": (
        Panel("Drift, by feature", {f"perennial_drift_effect{{{_MODEL}}}": "{{feature}}"}),
        Panel("Features that differ", {f"sum(perennial_drift_found{{{_MODEL}}})": "features"}),
        Panel(
            "Values never seen in training, per minute",
            {f"60 * sum by (feature) (rate(perennial_out_of_vocabulary_total{{{_MODEL}}}[15m]))": "{{feature}}"},
        ),
    ),
    "Model": (
        Panel(
            "Loss",
            {
                f"perennial_loss_ratio{{{_MODEL}}}": "labeled rows",
                f"perennial_loss_reference_ratio{{{_MODEL}}}": "test rows",
                f"perennial_loss_tolerated_ratio{{{_MODEL}}}": "tolerated",
                f"perennial_loss_estimated_ratio{{{_MODEL}}}": "{{bound}}",
            },
            "percentunit",
        ),
        Panel(
            "Evidence that the loss has risen",
            {f"perennial_loss_evidence_ratio{{{_MODEL}}}": "share of an alarm"},
            "percentunit",
        ),
        Panel("Metrics on labeled rows", {f"perennial_realized{{{_MODEL}}}": "{{metric}}"}),
    ),
    "What to do": (
        Panel("Decision", {f"perennial_decision{{{_MODEL}}} == 1": "{{action}}"}, kind="stat"),
        Panel("Open incidents", {f"perennial_incidents_open{{{_MODEL}}}": "{{cause}}"}, kind="stat"),
        Panel(
            "Age of monitoring and of the newest row",
            {
                f"time() - perennial_monitoring_timestamp_seconds{{{_MODEL}}}": "monitoring",
                f"time() - perennial_newest_event_timestamp_seconds{{{_MODEL}}}": "newest row",
            },
            "s",
            "stat",
        ),
    ),
}
"""The panels by row of the page."""


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's own format; the model is chosen on the page."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1}, "panels": []})
        for number, panel in enumerate(row):
            x, below = number * _WIDTH % _COLUMNS, number * _WIDTH // _COLUMNS * _HEIGHT
            panels.append(_panel(panel, x, y + 1 + below))
        y += 1 + -(-len(row) * _WIDTH // _COLUMNS) * _HEIGHT
    return {
        "uid": "perennial",
        "title": "Perennial: a model in production",
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "model", "type": "query", "label": "model", "datasource": _SOURCE, "refresh": 2,
                    "query": {"query": "label_values(perennial_requests_total, model_name)", "refId": "model"},
                },
            ]
        },
        "panels": [{**panel, "id": number} for number, panel in enumerate(panels, 1)],
    }  # fmt: skip


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (query, legend) in enumerate(panel.queries.items())
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def text() -> str:
    """Return the dashboard as the file that Grafana imports."""
    return json.dumps(dashboard(), indent=1) + "\n"
