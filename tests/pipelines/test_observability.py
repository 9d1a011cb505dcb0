"""Alerts fire for broken promises and for nothing else; the dashboard asks for metrics that exist."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from components.shared import monitoring_metrics
from components.shared.documents.monitoring import PerformanceReport
from components.shared.incidents.incident import Incident
from components.shared.project import Project
from pipelines.command import cli
from pipelines.images.environments import ROOT
from pipelines.images.overlays import INFRA
from pipelines.observability import dashboard, rules
from tests import documents
from tests.pipelines import toy

NOW = datetime(2026, 6, 2, tzinfo=UTC)
FOLDER = INFRA / "observability"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on PATH")


def project(**slo: Any) -> Project:
    return Project.model_validate(yaml.safe_load(toy.PROJECT) | {"monitoring": {"slo": slo}})


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alerts(tmp_path: Path, series: dict[str, str], at: str, **slo: Any) -> set[tuple[str, str, str]]:
    """Return promise, severity and window of the alerts that promtool sees at a time, by minutes of samples."""
    nothing = {"eval_time": at, "alertname": "PerennialBudgetBurns", "exp_alerts": []}
    samples = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": samples, "alert_rule_test": [nothing]}
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules.rules(project(**slo))))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    # It fails where it got more than nothing, and prints what it got.
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True)
    said = done.stdout + done.stderr
    got = re.findall(r'Labels:\{([^}]*alertname="PerennialBudgetBurns"[^}]*)\}', said)
    assert bool(got) == bool(done.returncode) and ("SUCCESS" in said or got), said
    found = [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in got]
    return {(labels["slo"], labels["severity"], labels["window"]) for labels in found}


def requests(ok: str, failed: str) -> dict[str, str]:
    labels = 'model_name="small",protocol="v1"'
    return {
        f'perennial_requests_total{{{labels},status="200"}}': ok,
        f'perennial_requests_total{{{labels},status="503"}}': failed,
    }


PAGE, SLOW_PAGE, TICKET = (
    ("availability", "page", "1h"), ("availability", "page", "6h"), ("availability", "ticket", "3d")
)  # fmt: skip


@needs_promtool
@pytest.mark.parametrize(
    ("ok", "failed", "expected"),
    [
        ("0+600x480", "0x480", set()),
        # 0.05 % of the requests fail: half of what is allowed.
        ("0+2000x480", "0+1x480", set()),
        # 0.2 %: twice what is allowed.
        ("0+2000x480", "0+4x480", {TICKET}),
        # 0.8 %: the budget of a month is gone in four days.
        ("0+1000x480", "0+8x480", {SLOW_PAGE, TICKET}),
        # 5 % in the last 20 minutes, after seven hours without a failure.
        ("0+600x480", "0x460 0+30x20", {PAGE, TICKET}),
        # The same, over for ten minutes: nobody is paged any more.
        ("0+600x480", "0x450 0+30x20 600x10", {TICKET}),
        # Four failures of ten requests: too few to know.
        ("0+1x480", "0x470 1 2 3 4x7", set()),
    ],
)
def test_an_availability_alert_fires_when_the_budget_burns_too_fast_and_stops_soon_after(
    tmp_path, ok, failed, expected
):
    assert alerts(tmp_path, requests(ok, failed), "8h") == expected


@needs_promtool
def test_a_latency_alert_counts_answers_beyond_the_declared_edge(tmp_path):
    series = {
        'perennial_request_seconds_count{model_name="small"}': "0+600x480",
        'perennial_request_seconds_bucket{model_name="small",le="0.05"}': "0+600x450 270000+400x30",
        'perennial_request_seconds_bucket{model_name="small",le="0.1"}': "0+600x480",
    }

    assert alerts(tmp_path, series, "8h", latency_ms=100) == set()
    assert ("latency", "page", "1h") in alerts(tmp_path, series, "8h", latency_ms=50)


@needs_promtool
def test_a_quality_promise_is_judged_by_labeled_rows_and_never_by_a_share_above_one(tmp_path):
    series = {
        'perennial_labeled_rows_total{model_name="small"}': "0+100x480",
        'perennial_wrong_rows_total{model_name="small"}': "0+30x480",
    }

    assert alerts(tmp_path, series, "8h", quality=0.8) == {("quality", "ticket", "3d")}
    assert alerts(tmp_path, series, "8h", quality=0.65) == set()
    burning = [r for g in rules.rules(project(quality=0.8))["groups"] for r in g["rules"] if "alert" in r]
    assert [r["labels"]["severity"] for r in burning if r["labels"].get("slo") == "quality"] == ["ticket"]


@needs_promtool
@pytest.mark.parametrize("slo", [{}, {"quality": 0.7, "latency_ms": 5000, "availability": 0.9}])
def test_the_rules_are_ones_that_prometheus_loads(tmp_path, slo):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules.rules(project(**slo))))

    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", tmp_path / "rules.yaml")


def test_the_committed_rules_and_dashboard_are_those_of_the_code():
    runner = CliRunner()
    for command, file in (("rules", "rules.yaml"), ("dashboard", "dashboard.json")):
        arguments = [command, "--project", str(ROOT)] if command == "rules" else [command]
        done = runner.invoke(cli.main, arguments)
        assert done.exit_code == 0 and done.output == (FOLDER / file).read_text(), "run: make infra"


def test_the_operators_resource_has_the_same_rules(tmp_path):
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    done = CliRunner().invoke(cli.main, ["rules", "--kubernetes", "--project", str(tmp_path)])

    made = yaml.safe_load(done.output)
    assert (made["kind"], made["metadata"]["name"]) == ("PrometheusRule", "perennial-small")
    assert made["spec"] == rules.rules(project())


@pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool on PATH")
@pytest.mark.parametrize(
    ("severity", "receiver"), [("page", "pager"), ("critical", "pager"), ("ticket", "tickets"), ("warning", "tickets")]
)
def test_the_example_of_routes_pages_for_what_is_urgent(severity, receiver):
    command = [
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={FOLDER}/alertmanager.yaml",
        f"severity={severity}",
    ]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == receiver


def exposed() -> str:
    incident = Incident(number=1, cause="upstream", sightings=())
    registry = monitoring_metrics.metrics(
        documents.log_window(),
        documents.drift_report(),
        documents.performance_report(estimate=documents.estimate()),
        documents.monitoring_decision(),
        [incident, incident.model_copy(update={"state": "resolved"})],
        NOW,
    )
    return generate_latest(registry).decode()


def test_metrics_of_monitoring_say_what_the_documents_say():
    said = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposed())
        for sample in family.samples
    }

    assert said["perennial_monitoring_timestamp_seconds", "made"] == NOW.timestamp()
    assert said["perennial_drift_effect", "usage", "made"] == 0.02
    assert said["perennial_loss_ratio", "made"] == 0.25
    assert said["perennial_loss_estimated_ratio", "low", "made"] == pytest.approx(0.18)
    assert (said["perennial_labeled_rows_total", "made"], said["perennial_wrong_rows_total", "made"]) == (300, 60)
    assert (said["perennial_decision", "nothing", "made"], said["perennial_decision", "retrain", "made"]) == (1, 0)
    assert said["perennial_incidents_open", "upstream", "made"] == 1
    assert said["perennial_model_release_info", "made", "1"] == 1


def test_what_is_unknown_is_no_metric():
    unknown = PerformanceReport(mode="inputs only", release=None, loss="", reason="nothing was logged")
    window = documents.log_window(end=None, start=None, release=None, rows=0)
    registry = monitoring_metrics.metrics(
        window, documents.drift_report(columns=()), unknown, documents.monitoring_decision(), [], NOW
    )

    text = generate_latest(registry).decode()
    assert "perennial_loss_ratio" not in text and "perennial_newest_event" not in text


@needs_promtool
def test_the_metrics_are_well_formed():
    promtool("check", "metrics", text=exposed())


def test_every_query_of_the_dashboard_and_every_rule_asks_for_a_metric_that_exists():
    server = (ROOT / "serving" / "metrics.py").read_text(encoding="utf-8")
    known = {
        name + suffix
        for kind, name in re.findall(r'(Counter|Gauge|Histogram)\(\s*"(perennial_\w+)"', server)
        for suffix in {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}[kind]
    }
    known |= set(re.findall(r"^(perennial_\w+)", exposed(), re.MULTILINE))
    made = rules.rules(project(quality=0.8))["groups"]
    known |= {rule["record"] for group in made for rule in group["rules"] if "record" in rule}

    queries = [query for row in dashboard.ROWS.values() for panel in row for query in panel.queries]
    queries += [rule["expr"] for group in made for rule in group["rules"]]
    asked = {name for query in queries for name in re.findall(r"\bperennial[_:][\w:]+", query)}

    assert len(asked) > 20 and asked <= known
    edges = re.search(r"LATENCY_EDGES_MS = \((.*?)\)", server)
    assert edges is not None
    offered = json.loads(f"[{edges[1]}]")
    schema = Project.model_json_schema()["$defs"]["ServiceObjectives"]["properties"]["latency_ms"]
    assert set(schema["enum"]) <= set(offered)


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path):
    queries = [query for row in dashboard.ROWS.values() for panel in row for query in panel.queries]
    asked = [{"record": f"query:{n}", "expr": query.replace("$model", "m")} for n, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))

    promtool("check", "rules", tmp_path / "rules.yaml")


def test_panels_do_not_overlap():
    cells = set()
    for panel in dashboard.dashboard()["panels"]:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells and at["x"] + at["w"] <= 24
        cells |= mine
