"""From answered requests and late labels to a decision: a world that stays, one that changes, bad input."""

import html
import json
import shutil
from pathlib import Path

import filelock
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from components.shared.documents.data_quality import DataQuality
from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.documents.skew import SkewReport
from pipelines.images.environments import ROOT
from pipelines.runs import Run, load
from tests.end_to_end.command import edit, perennial, serving

LABELS = ".perennial/traffic/labels.parquet"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example with a released model, which nobody has asked yet."""
    folder = tmp_path_factory.mktemp("monitored")
    shutil.copy(ROOT / "project.yaml", folder)
    shutil.copytree(ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    told = {"journal": {"kind": "file", "path": "told.jsonl"}, "hook": {"kind": "webhook", "url_env": "NO_SUCH_HOOK"}}
    edit(folder, tuning={"trials": 0}, training={"families": ["plain"]}, monitoring={"owner": "kim", "notify": told})
    perennial("run", "--simulate", cwd=folder)
    return folder


def monitored(folder: Path, *options: str) -> tuple[Run, str]:
    said = perennial("monitor", *options, cwd=folder).stdout
    newest = max((folder / ".perennial" / "runs").iterdir())
    return load(newest / "run.json"), said


def forget(folder: Path) -> None:
    for name in ("log", "labels"):
        shutil.rmtree(folder / ".perennial" / name, ignore_errors=True)


def test_before_any_request_nothing_is_known_and_that_is_said(example):
    run, said = monitored(example)

    assert MonitoringDecision.read(run.artifacts["decision.outcome"]).action == "watch"
    assert "drift is unknown: nothing was logged between the beginning and now" in said
    assert "performance is unknown" in said

    perennial("run", "--pipeline", "loop", cwd=example)
    looped = load(max((example / ".perennial" / "runs").iterdir()) / "run.json")
    states = {step.name: step.state for step in looped.steps}
    assert (states["decision"], states["ingestion"], states["deployment"]) == ("done", "skipped", "skipped")
    assert looped.exit_code == 0 and "registration.release" not in looped.artifacts


def test_a_world_that_stays_gives_nothing_to_do_and_one_that_changes_retrains(example):
    with serving(example, "1"):
        perennial("traffic", "--rate", "5000", "--months", "4", cwd=example)
    sent = pq.read_table(example / ".perennial" / "traffic" / "rows.parquet")
    unlabeled, _ = monitored(example)
    assert "added" in perennial("labels", "add", LABELS, cwd=example).stdout
    assert "nothing to do" in perennial("labels", "add", LABELS, cwd=example).stdout
    quiet, said = monitored(example)

    measured = PerformanceReport.read(quiet.artifacts["performance.report"])
    waiting = PerformanceReport.read(unlabeled.artifacts["performance.report"])
    assert waiting.mode == "estimated" and "0 of the release's" in waiting.reason
    assert len(waiting.to_label) == 200 and waiting.estimate.loss.low < measured.rate < waiting.estimate.loss.high
    everything = LogWindow.read(monitored(example, "--start", "2020-01-01")[0].artifacts["log_window.window"])
    assert everything.rows == sent.num_rows and everything.labels.joined == everything.labels.known == sent.num_rows
    assert len(measured.segments) > 10 and measured.alarming_segments == ()
    # How fast requests are answered is up to the machine.
    assert {one.signal: one.alarm for one in measured.watched if one.signal != "latency"} == {
        "value": None,
        "fairness": None,
    }
    assert measured.alarm is None and len(measured.periods) > 60
    validated = DataQuality.read(quiet.artifacts["data_quality.report"])
    assert (validated.columns, validated.findings) == (17, ())
    assert measured.metrics["auc"].low < measured.reference["auc"] < measured.metrics["auc"].high
    assert "retrain" not in said and "roll back" not in said
    metrics = (example / ".perennial" / "metrics" / "perennial-churn.prom").read_text()
    assert (
        f'perennial_labeled_rows_total{{model_name="churn"}} {float(sum(p.labeled for p in measured.periods))}'
        in metrics
    )
    page = (quiet.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="monitoring"' in page and "Loss by day" in page and "Monitoring says:" in page

    forget(example)
    with serving(example, "1"):
        perennial("traffic", "--rate", "5000", "--months", "4", "--switch", "concept-drift@2025-05", cwd=example)
    perennial("labels", "add", LABELS, cwd=example)
    changed, said = monitored(example)

    alarm = PerformanceReport.read(changed.artifacts["performance.report"]).alarm
    assert "retrain" in said and "the loss has risen, proven on 2025-05-" in said
    assert "monitoring says retrain (" in perennial("status", cwd=example).stdout
    assert "incident 1 (" in said and "opened" in said
    assert "1 message for 'hook' not delivered: the environment variable NO_SUCH_HOOK is not set; kept" in said
    assert "seen again, 2 times so far" in monitored(example)[1]
    assert "proven on 2025-05-" in perennial("incidents", "show", "1", cwd=example).stdout
    perennial("incidents", "resolve", "1", "--as", "the market changed; retrained", cwd=example)
    messages = [json.loads(line) for line in (example / "told.jsonl").read_text().splitlines()]
    assert [(one["event"], one["owner"]) for one in messages] == [("opened", "kim"), ("resolved", "kim")]
    assert "more wrong answers per 100 rows than on the test rows" in messages[0]["effect"]
    again = perennial("loop", "--once", cwd=example).stdout
    assert "retraining on the project's tables as they are now" in again and "released version" not in again
    with filelock.FileLock(example / ".perennial" / "loop.lock"):
        refused = perennial("loop", "--once", cwd=example, expect=2).stderr
    assert "another 'perennial loop' runs on this project" in refused
    assert alarm is not None and "2025-05-01" <= alarm.day <= "2025-05-21"


def test_a_column_in_another_unit_is_named_first(example):
    forget(example)
    with serving(example, "1"):
        perennial("traffic", "--rate", "5000", "--months", "2", "--switch", "broken-column@2025-04", cwd=example)
    run, said = monitored(example)

    assert DriftReport.read(run.artifacts["drift.report"]).columns[0].column == "data_gb"
    finding, *others = DataQuality.read(run.artifacts["data_quality.report"]).findings
    assert (finding.column, finding.is_reviewed, finding.is_broken) == ("data_gb", True, True)
    assert not any(other.is_broken for other in others), others
    assert finding.sentence in html.unescape((run.folder / "report.html").read_text(encoding="utf-8"))
    assert said.split("inputs differ from the reference: ")[1].startswith("data_gb (normed Wasserstein")
    assert "(upstream) opened: ask who delivers the columns" in said


def test_the_rows_of_a_release_and_of_a_torn_log_hide_nothing(example):
    """What a killed server left, and the requests with which releases are tested, change no count."""
    forget(example)
    with serving(example, "1"):
        perennial("predict", "--sample", cwd=example)
    wal = next((example / ".perennial" / "log" / "wal").glob("*.jsonl"))
    asked = json.loads(wal.read_text().splitlines()[1])["id"]
    with wal.open("ab") as torn:
        torn.write(b'{"id": "half a li')
    run, _ = monitored(example)

    window = LogWindow.read(run.artifacts["log_window.window"])
    assert (window.rows, window.damaged) == (0, ())
    explained = perennial("explain", asked, cwd=example).stdout
    for words in (
        "feature   contract = ",
        "release   1",
        "released  by ",
        "code      commit ",
        "data      snapshot ",
        "gate      passed: ",
    ):
        assert words in explained


def test_a_person_is_forgotten_in_log_and_labels(example):
    forget(example)
    with serving(example, "1"):
        perennial("traffic", "--rate", "5000", "--months", "1", cwd=example)
    perennial("labels", "add", LABELS, cwd=example)
    sent = pq.read_table(example / ".perennial" / "traffic" / "rows.parquet")
    person = sent["customer_id"][0].as_py()

    said = perennial("forget", person, cwd=example).stdout

    kept = [path for name in ("log", "labels") for path in (example / ".perennial" / name).rglob("*.parquet")]
    assert said.startswith("removed 1 logged rows and 1 labels")
    assert len(kept) >= 2 and all(person not in pq.read_table(path)["entity"].to_pylist() for path in kept)
    assert "removed 0 logged rows and 0 labels" in perennial("forget", person, cwd=example).stdout
    window = LogWindow.read(monitored(example, "--start", "2020-01-01")[0].artifacts["log_window.window"])
    assert window.rows == sent.num_rows - 1 == window.labels.joined


def test_requests_are_deleted_when_they_are_older_than_the_project_keeps_them(example):
    log = example / ".perennial" / "log"
    shutil.copytree(next(log.glob("day=*")), log / "day=2020-01-01")

    _, said = monitored(example)

    assert "deleted the requests of 2020-01-01, which are older than 180 days" in said
    assert not (log / "day=2020-01-01").exists() and list(log.glob("day=*"))


def test_bad_input_is_one_sentence(example, tmp_path):
    assert "no server runs on the endpoint" in perennial("traffic", cwd=example, expect=5).stderr
    assert (
        "does not exist; expected a CSV or parquet file"
        in perennial("labels", "add", "absent.csv", cwd=example, expect=2).stderr
    )
    wrong = perennial("monitor", "--start", "2026-02-01", "--end", "2026-01-01", cwd=example, expect=2)
    assert "expected an end after the start" in wrong.stdout + wrong.stderr
    (tmp_path / "rows.csv").write_text("customer_id,plan\n1,basic\n")
    with serving(example, "1"):
        refused = perennial("traffic", tmp_path / "rows.csv", cwd=example, expect=2).stderr
    assert "lacks the features" in refused and json.dumps("plan").strip('"') in refused


def test_the_loop_replaces_a_model_that_the_world_has_left_behind_and_keeps_quiet_afterwards(example):
    """The last test: another release answers after it."""
    forget(example)
    changed = ("--switch", "concept-drift@2025-05")
    edit(example, split={"newest_days": 240, "validation": 0.25, "test": 0.25})
    with serving(example, "1"):
        perennial("traffic", "--rate", "5000", "--months", "4", *changed, cwd=example)
        perennial("labels", "add", LABELS, cwd=example)
        perennial("simulate", "--months", "26", *changed, cwd=example)

        closed = perennial("loop", "--once", cwd=example).stdout

        assert "retraining on the project's tables as they are now" in closed and "released version 2" in closed
        assert "is resolved: release 2 replaced release 1, by 'perennial loop'" in closed
        assert "concept drift" not in perennial("incidents", "list", cwd=example).stdout
        forget(example)
        perennial("traffic", "--rate", "5000", "--months", "2", *changed, cwd=example)
    perennial("labels", "add", LABELS, cwd=example)
    quiet = perennial("loop", "--once", cwd=example).stdout
    assert "retrain" not in quiet and "rolled back" not in quiet


def test_the_pipeline_of_the_loop_replaces_a_model_once_the_world_has_changed_back(example):
    """As a schedule on a cluster runs it: one run, from the log to the next release."""
    forget(example)
    perennial("simulate", "--months", "15", cwd=example)
    with serving(example, "2"):
        perennial("traffic", "--rate", "5000", "--months", "4", cwd=example)
        perennial("labels", "add", LABELS, cwd=example)
        perennial("simulate", "--months", "26", cwd=example)
        closed = perennial("run", "--pipeline", "loop", cwd=example).stdout

    run = load(max((example / ".perennial" / "runs").iterdir()) / "run.json")
    assert "the loss has risen" in closed and "released version 3" in closed
    recorded = perennial("audit", "show", cwd=example).stdout
    assert "release 3" in " ".join(recorded.split()) and recorded.count("monitoring") >= 2
    assert all(step.state == "done" for step in run.steps if step.name != "rejection")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Monitoring says: retrain. Version 3 was released." in page

    record = perennial("audit", "show", cwd=example).stdout
    assert "release 1, run " in record and "monitoring retrain, run " in record and "release 2, run " in record
    assert "entries, none of them edited" in perennial("audit", "verify", cwd=example).stdout


def test_logged_features_are_compared_with_those_of_the_tables(example):
    forget(example)
    refused = perennial("audit", "skew", cwd=example, expect=2)
    assert "the log has no row of the model 'churn' in the window (it has none at all)" in refused.stdout

    with serving(example):
        perennial("traffic", "--rate", "5000", "--months", "2", cwd=example)
    early = perennial("audit", "skew", cwd=example, expect=2)
    assert "so the offline path knows nothing of them yet" in early.stdout

    tables = example / ".perennial" / "data"
    shutil.copytree(example / ".perennial" / "traffic" / "project" / "data", tables, dirs_exist_ok=True)
    clean = perennial("audit", "skew", cwd=example)
    assert "rows compared in 17 features: 0 mismatches\n" in clean.stdout
    run = load(max((example / ".perennial" / "runs").iterdir()) / "run.json")
    report = SkewReport.read(run.artifacts["skew_audit.report"])
    assert report.is_clean and report.compared == report.rows > 2000

    usage = pq.read_table(tables / "usage.parquet")
    place = usage.column_names.index("minutes")
    seconds = pc.multiply(usage["minutes"], 60)
    pq.write_table(usage.set_column(place, "minutes", seconds), tables / "usage.parquet")
    skewed = perennial("audit", "skew", "--sample", "1000", cwd=example, expect=3)
    assert "- unit (x 0.01667) in 'minutes' (" in skewed.stdout
    assert "beyond the number that was asked for." in skewed.stdout
