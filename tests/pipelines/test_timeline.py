"""The report of monitoring shows the windows before it, and leaves out what a killed run left."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.shared.documents.measurements import ColumnDistribution
from pipelines import runs
from pipelines.runs.report import monitoring_charts, page, timeline
from tests import documents

FIRST = datetime(2026, 5, 1, tzinfo=UTC)


def look(folder: Path, number: int, *, effect: float = 0.1, **performance: Any) -> Path:
    """Write a monitoring run whose window ends ``number`` weeks after FIRST."""
    run = folder / "runs" / f"run-{number}"
    end = (FIRST + timedelta(weeks=number)).isoformat()
    said = {
        "log_window.window": documents.log_window(end=end),
        "drift.report": documents.drift_report(columns=(documents.column_drift(effect=effect),)),
        "performance.report": documents.performance_report(**performance),
        "decision.outcome": documents.monitoring_decision(action="watch", reasons=(f"reason {number}",)),
    }
    artifacts = {}
    for name, document in said.items():
        artifacts[name] = str(run / "artifacts" / name)
        document.write(artifacts[name])
    runs.Run(f"run-{number}", "made", "monitoring", run, end, [], exit_code=0, artifacts=artifacts).save()
    return run


def test_windows_are_in_the_order_of_their_end_and_only_those_up_to_the_run(tmp_path):
    for number in (2, 1, 3):
        look(tmp_path, number)
    artifacts = runs.load(tmp_path / "runs" / "run-2" / "run.json").artifacts

    found = timeline.looks(tmp_path / "runs" / "run-2", artifacts)

    assert [(one.run, one.day) for one in found] == [("run-1", "2026-05-08"), ("run-2", "2026-05-15")]


def test_what_a_killed_run_left_is_left_out(tmp_path):
    for number in (1, 2, 3, 4):
        look(tmp_path, number)
    (tmp_path / "runs" / "run-1" / "run.json").write_text('{"half')
    (tmp_path / "runs" / "run-2" / "artifacts" / "drift.report" / "drift.json").unlink()
    artifacts = runs.load(tmp_path / "runs" / "run-4" / "run.json").artifacts

    assert [one.run for one in timeline.looks(tmp_path / "runs" / "run-4", artifacts)] == ["run-3", "run-4"]


def test_the_report_draws_drift_and_loss_over_time_and_lists_the_decisions(tmp_path):
    for number in (1, 2, 3):
        look(tmp_path, number, effect=0.1 * number, estimate=documents.estimate())
    last = tmp_path / "runs" / "run-3"

    made = page.render(vars(runs.load(last / "run.json")), last).read_text(encoding="utf-8")

    for words in ("Drift over time", "Loss over time", "Window by window", "reason 1", "reason 3", "2026-05-15"):
        assert words in made


def test_one_window_is_no_line():
    assert monitoring_charts.drift_over_time([]) == monitoring_charts.loss_over_time([]) == ""


def test_features_are_drawn_then_and_now():
    shares = {"test rows": (0.2, 0.8, 0.0), "window": (0.7, 0.2, 0.1)}
    numbers = ColumnDistribution(column="usage", bins=("0", "1", "(missing)"), edges=(0.0, 1.0, 2.0), shares=shares)
    plans = ColumnDistribution(column="plan", bins=("basic", "plus", "(missing)"), edges=None, shares=shares)

    drawn = monitoring_charts.distributions(documents.drift_report(distributions=(numbers, plans)))

    assert "usage" in drawn and "plan" in drawn and "(missing)" in drawn
