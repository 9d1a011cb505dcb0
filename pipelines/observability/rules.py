"""Prometheus rules from a project's promises: alert when the allowed failures are used up too fast.

A promise of 99.9 % allows 0.1 % to fail. A burn rate of 1 uses that up in exactly 30 days. An alert needs a high burn
rate over a long window, or a single failure would page, and over a short one, or it would go on after the end of the
trouble (Beyer et al., "The Site Reliability Workbook", 2018, chapter 5, "Alerting on SLOs", the sixth approach).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.shared.project import Project

WINDOWS = ("5m", "30m", "1h", "6h", "3d")
FAILURES_MIN = 5
"""Fewer failures than this in the long window never alert: where requests are rare, one is a large share."""

Rules = dict[str, Any]
"""A rule, a group of rules or a file of them in Prometheus's own format."""


@dataclass(frozen=True)
class Burn:
    """One alert: the burn rate over both windows is higher than ``factor``."""

    severity: str
    factor: float
    long: str
    short: str


BURNS = (Burn("page", 14.4, "1h", "5m"), Burn("page", 6.0, "6h", "30m"), Burn("ticket", 1.0, "3d", "6h"))


@dataclass(frozen=True)
class Objective:
    """One promise, by the counters that tell whether it is kept.

    Attributes:
        name: availability, latency or quality.
        promised: Share of all that must be good.
        promise: It in words.
        all: The counter of all.
        bad: The counter of failures; None where only the others are counted.
        good: The counter of the others; None where failures are counted.
    """

    name: str
    promised: float
    promise: str
    all: str
    bad: str | None = None
    good: str | None = None

    def failures(self, function: str, window: str) -> str:
        """Return PromQL for the failures of a window, 0 if there were none: their ``rate`` or ``increase``."""
        everything = self.everything(function, window)
        if self.bad is not None:
            return f"(sum({function}({self.bad}[{window}])) or 0 * {everything})"
        return f"({everything} - sum({function}({self.good}[{window}])))"

    def everything(self, function: str, window: str) -> str:
        """Return PromQL for all of a window."""
        return f"sum({function}({self.all}[{window}]))"


def objectives(project: Project) -> list[Objective]:
    """Return the promises of a project."""
    slo, model = project.monitoring.slo, f'model_name="{project.name}"'
    made = [
        Objective(
            "availability",
            slo.availability,
            f"{slo.availability:.6g} of the requests must not fail through the server",
            all=f"perennial_requests_total{{{model}}}",
            bad=f'perennial_requests_total{{{model},status=~"5.."}}',
        ),
        Objective(
            "latency",
            slo.latency,
            f"{slo.latency:.6g} of the answers must be scored within {slo.latency_ms} ms",
            all=f"perennial_request_seconds_count{{{model}}}",
            good=f'perennial_request_seconds_bucket{{{model},le="{float(slo.latency_ms / 1000)!r}"}}',
        ),
    ]
    if slo.quality is not None:
        made.append(
            Objective(
                "quality",
                slo.quality,
                f"{slo.quality:.6g} of the labeled rows must be answered rightly",
                all=f"perennial_labeled_rows_total{{{model}}}",
                bad=f"perennial_wrong_rows_total{{{model}}}",
            )
        )
    return made


def rules(project: Project) -> Rules:
    """Return the content of a Prometheus rule file."""
    groups = [
        {"name": f"perennial-{project.name}-{one.name}", "rules": [*_recorded(project, one), *_alerts(project, one)]}
        for one in objectives(project)
    ]
    return {"groups": [*groups, {"name": f"perennial-{project.name}", "rules": [*_watching(project)]}]}


def resource(project: Project) -> Rules:
    """Return the rules as the PrometheusRule of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": f"perennial-{project.name}", "labels": {"app.kubernetes.io/part-of": "perennial"}},
        "spec": rules(project),
    }


def _recorded(project: Project, objective: Objective) -> Iterator[Rules]:
    """Record the share of failures over each window, which alerts and dashboards read."""
    for window in WINDOWS:
        yield {
            "record": _record(window),
            "expr": f"{objective.failures('rate', window)} / {objective.everything('rate', window)}",
            "labels": {"model_name": project.name, "slo": objective.name},
        }


def _alerts(project: Project, objective: Objective) -> Iterator[Rules]:
    """Make the alerts that can fire; a share of failures above 1 does not exist."""
    labels = f'{{model_name="{project.name}",slo="{objective.name}"}}'
    for burn in BURNS:
        limit = round(burn.factor * (1 - objective.promised), 6)
        if limit >= 1:
            continue
        enough = f"{objective.failures('increase', burn.long)} >= {FAILURES_MIN}"
        too_fast = " and ".join(f"{_record(window)}{labels} > {limit:g}" for window in (burn.long, burn.short))
        yield {
            "alert": "PerennialBudgetBurns",
            "expr": f"{too_fast} and on() ({enough})",
            "labels": {
                "severity": burn.severity,
                "model_name": project.name,
                "slo": objective.name,
                "window": burn.long,
            },
            "annotations": {
                "summary": f"{project.name}: {objective.name} fails {burn.factor:g} times as often as is allowed",
                "description": f"{objective.promise}; {{{{ $value | humanizePercentage }}}} failed in {burn.long}.",
            },
        }


def _watching(project: Project) -> Iterator[Rules]:
    """Make the alerts about monitoring itself: what is not logged, and a pipeline that no longer runs."""
    model = f'{{model_name="{project.name}"}}'
    stale_s = int(2 * project.monitoring.window_days * 86_400)
    yield _ticket(
        project,
        "PerennialRequestsNotLogged",
        f"increase(perennial_unlogged_requests_total{model}[15m]) > 0",
        "requests are answered and not logged",
        "The disk of the log is full or slow. Monitoring does not see these requests.",
    )
    yield _ticket(
        project,
        "PerennialMonitoringStale",
        f"time() - perennial_monitoring_timestamp_seconds{model} > {stale_s}",
        "monitoring has not run for two windows",
        "Look at the last runs of the pipeline monitoring, and at what schedules it.",
    )


def _ticket(project: Project, alert: str, expression: str, summary: str, description: str) -> Rules:
    return {
        "alert": alert,
        "expr": expression,
        "labels": {"severity": "ticket", "model_name": project.name},
        "annotations": {"summary": f"{project.name}: {summary}", "description": description},
    }


def _record(window: str) -> str:
    return f"perennial:slo_failures:ratio_rate{window}"
