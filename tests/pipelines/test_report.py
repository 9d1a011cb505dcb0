"""The report of a run tells what there is, also of a run that broke, opens offline, and runs nothing that data says."""

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from components.shared.measures import shapes
from components.shared.measures.metrics import Binary, Regression
from pipelines.runs.report import charts, render
from tests import documents
from tests.components import made_candidate

STEPS = ("ingestion", "champion", "data_validation", "feature_retrieval", "split", "tuning", "training", "evaluation",
         "gate", "registration", "deployment", "rejection")  # fmt: skip
NASTY = "--></td><script>alert('x')</script>\"'&$_{"


def _run(folder, state="finished", exit_code=0, **changed):
    evidence = made_candidate.evidence(folder, **changed)
    documents.registered_version().write(folder / "release")
    (folder / "card.md").write_text("# Model card: made, version 3\n\n| a | b |\n|---|---|\n| 1 | <b>2</b> |\n")
    return {
        "id": "20260101T000000_000001",
        "project": "made",
        "state": state,
        "exit_code": exit_code,
        "reason": None,
        "started": "2026-01-01T00:00:00+00:00",
        "steps": [
            {"name": name, "state": "done", "seconds": 1.5, "cached": False, "log": f"/logs/{name}.log", "error": None}
            for name in STEPS
        ],
        "artifacts": {
            "ingestion.snapshot": str(evidence.snapshot),
            "data_validation.statistics": str(evidence.statistics),
            "split.splits": str(evidence.splits),
            "tuning.study": str(evidence.study),
            "training.model": str(evidence.model),
            "evaluation.report": str(evidence.evaluation),
            "gate.verdict": str(evidence.verdict),
            "registration.release": str(folder / "release"),
            "registration.card": str(folder / "card.md"),
        },
    }


class _Page(HTMLParser):
    """What a browser would see: the tags, those left open, the attributes, and the text."""

    VOID = frozenset(("meta", "br"))

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts, self.mismatched = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(filter(None, self.texts))


def _page(run, folder):
    return _Page(render(run, folder).read_text(encoding="utf-8"))


def test_a_released_run_is_told_from_data_to_value(tmp_path):
    page = _page(_run(tmp_path / "run"), tmp_path)

    assert "Version 3 was released." in page.text
    sections = [value for name, value in page.attributes if name == "href" and value.startswith("#") and len(value) > 2]
    named = "steps gate data features tuning metrics slices fairness robustness value card lineage"
    for section in named.split():
        assert f"#{section}" in sections
    for told in ("0.812", "0.765 to 0.859", "+0.200", "3,200 EUR", "33.3 %", "auc +0.20, at least +0.15", "5" * 64):
        assert told in page.text
    drawn = {value for name, value in page.attributes if name == "aria-label"}
    assert {"ROC curve", "Calibration", "Metrics with intervals", "Value over the threshold", "Trials", "Training",
            "Slices, the worst first", "Differences to the champion and the baselines"} <= drawn  # fmt: skip


def test_the_page_is_well_formed_and_every_link_in_it_leads_somewhere(tmp_path):
    page = _page(_run(tmp_path / "run"), tmp_path)

    assert (page.open, page.mismatched) == ([], [])
    ids = [value for name, value in page.attributes if name == "id"]
    targets = {value[1:] for name, value in page.attributes if name.endswith("href")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", " ".join(str(value) for _, value in page.attributes)))
    assert targets <= set(ids)


def test_the_page_needs_nothing_but_itself(tmp_path):
    page = _page(_run(tmp_path / "run"), tmp_path)

    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "srcset", "data") or name.startswith("on")]
    assert all(value.startswith("#") for name, value in page.attributes if name.endswith("href"))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


@pytest.mark.parametrize("broken", range(9))
def test_a_run_that_broke_gets_a_report_of_what_it_reached(tmp_path, broken):
    run = _run(tmp_path / "run", "failed", 5)
    run["artifacts"] = dict(list(run["artifacts"].items())[:broken])
    run["steps"][5] |= {"state": "failed", "error": "all trials failed; look at the learning rate."}

    page = _page(run, tmp_path)

    assert "Step tuning failed: all trials failed; look at the learning rate." in page.text
    assert "/logs/tuning.log" in page.text
    assert ("Metrics" in page.texts) == (broken > 5)
    assert (page.open, page.mismatched) == ([], [])


def test_half_a_document_and_a_missing_folder_are_as_if_absent(tmp_path):
    run = _run(tmp_path / "run", "interrupted", 130)
    (tmp_path / "run" / "evaluation" / "evaluation.json").write_text('{"task": "bin')
    run["artifacts"]["training.model"] = str(tmp_path / "gone")

    page = _page(run, tmp_path)

    assert "Metrics" not in page.texts
    assert "Gate" in page.texts


def test_a_rejected_run_says_why_and_where_to_go_back_to(tmp_path):
    run = _run(tmp_path / "run", "rejected", 3, promote=False)
    (tmp_path / "advice.md").write_text("# Not released\n\nGo back to **features**.\n")
    run["artifacts"]["rejection.advice"] = str(tmp_path / "advice.md")

    page = _page(run, tmp_path)

    assert "The candidate was not released: auc +0.20, at least +0.15." in page.text
    assert "Go back to features ." in page.text


def test_an_unchanged_run_says_that_there_was_nothing_to_do(tmp_path):
    run = _run(tmp_path / "run")
    documents.registered_version(unchanged=True).write(tmp_path / "run" / "release")

    assert "Nothing to do: version 3" in _page(run, tmp_path).text


def test_blocked_data_shows_each_finding(tmp_path):
    run = _run(tmp_path / "run", "data blocked", 4)
    run["reason"] = "Column 'age' of 'rows' has values above 120."
    finding = {
        "source": "rows", "column": "age", "kind": "schema_anomalies", "reaction": "block", "sentence": run["reason"],
    }  # fmt: skip
    documents.findings(blocked=True, findings=[finding]).write(tmp_path / "run" / "statistics")

    page = _page(run, tmp_path)

    assert page.texts.count(run["reason"]) == 2
    assert "blocks" in page.texts


def test_drift_is_shown_with_its_test_and_the_rows_of_both_sides(tmp_path):
    page = _page(_run(tmp_path / "run"), tmp_path)

    row = page.texts.index("input drift")
    assert page.texts[row + 1 : row + 5] == [
        "the share of 'basic' went from 50.0% to 75.0%", "Jensen-Shannon distance", "0.200", "0.100",
    ]  # fmt: skip
    assert {"200", "800"} <= set(page.texts[row + 5 : row + 9])
    assert "rows: checked for drift: 200 rows newer than the last accepted snapshot." in page.texts
    assert "3 test rows have the features and the label of a training row." in page.text


def test_what_data_says_stays_text_in_tables_pictures_and_markdown(tmp_path):
    run = _run(tmp_path / "run", plans=(NASTY, "東京"))
    run |= {"project": NASTY, "reason": NASTY}
    run["steps"][0] |= {"state": "failed", "error": NASTY, "log": NASTY}
    run["artifacts"][NASTY] = NASTY

    page = _page(run, tmp_path)

    assert "script" not in page.tags
    assert (page.open, page.mismatched) == ([], [])
    assert page.text.count("alert('x')") > 5
    assert "<b>2</b>" in page.text
    assert "東京" in page.text


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_task_without_curves_money_or_groups_is_told_too(tmp_path, task):
    run = _run(tmp_path / "run")
    primary = {"multiclass": "auc_ovr", "regression": "r2"}[task]
    documents.evaluation(
        task=task,
        primary=primary,
        metrics={primary: documents.metric(0.7, half=0.1), "mae": documents.metric(12.5, half=1.5)},
        directions={primary: True, "mae": False},
        threshold=None,
        calibration=None,
        confusion=None,
        roc=None,
        value=None,
        fairness=(),
        slices=(),
        worst=None,
    ).write(tmp_path / "run" / "evaluation")

    page = _page(run, tmp_path)

    assert "12.500" in page.text
    assert "nothing is known about fairness" in page.text
    assert "Value" not in page.texts
    assert (page.open, page.mismatched) == ([], [])


BINARY = Binary(np.arange(60) % 3 == 0, np.linspace(0, 1, 60), 0.5)
PARTS = {
    "train": pa.table({"age": [1.0, 2.0, None], "plan": ["a", NASTY, "a"]}),
    "validation": pa.table({"age": [1.0, 2.0], "plan": ["a", "a"]}),
    "test": pa.table({"age": [5.0], "plan": ["b"]}),
}


def test_the_shapes_of_a_binary_model_are_drawn(tmp_path):
    run = _run(tmp_path / "run")
    documents.evaluation(
        ranking=shapes.ranking_curve(BINARY),
        scores=shapes.score_histogram(BINARY, ["stays", NASTY]),
        distributions=shapes.column_distributions(PARTS, ["age"], ["plan"]),
        rows=documents.evaluation().rows.model_copy(
            update={"by_class": {"0": 3, "1": 1}, "parts": {part: {"0": 3, "1": 1} for part in PARTS}}
        ),
    ).write(tmp_path / "run" / "evaluation")

    page = _page(run, tmp_path)

    drawn = {value for name, value in page.attributes if name == "aria-label"}
    assert {"Precision and recall", "Lift", "Scores by class"} <= drawn
    assert any(title.startswith("Features in the training") for title in drawn)
    assert page.texts.count("25.0 %") == 3
    assert "script" not in page.tags and (page.open, page.mismatched) == ([], [])


def test_the_errors_of_a_regression_are_drawn_and_told_by_size(tmp_path):
    run = _run(tmp_path / "run")
    truth = np.arange(100.0)
    documents.evaluation(
        task="regression", threshold=None, fit=shapes.regression_fit(Regression(truth, truth + 2.5), seed=7)
    ).write(tmp_path / "run" / "evaluation")

    page = _page(run, tmp_path)

    drawn = {value for name, value in page.attributes if name == "aria-label"}
    assert {"Predicted and actual", "Residuals"} <= drawn
    assert page.texts.count("+2.500") == 5


def test_the_coverage_of_sets_is_shown_with_the_class_that_they_hold_least(tmp_path):
    run = _run(tmp_path / "run")
    low = documents.coverage(level=0.95, expected_low=0.9, by_part={NASTY: 0.2})
    documents.evaluation(coverage=(documents.coverage(), low)).write(tmp_path / "run" / "evaluation")

    page = _page(run, tmp_path)

    assert "Sets of classes" in page.texts
    for told in ("90 %", "89.4 %", "88.4 % to 90.4 %", "1.250", "75.0 %", "70.2 % (yes)", "95 %", f"20.0 % ({NASTY})"):
        assert told in page.text
    assert page.texts.count("chance leaves 90.0 %") == 1
    assert "script" not in page.tags and (page.open, page.mismatched) == ([], [])


def test_the_coverage_of_intervals_is_shown_by_the_size_of_the_answer(tmp_path):
    run = _run(tmp_path / "run")
    part = documents.coverage(single=None, mean_size=12.5, by_part={"1 to 5": 0.91, "5 to 80": 0.85})
    documents.evaluation(task="regression", threshold=None, coverage=(part,)).write(tmp_path / "run" / "evaluation")

    page = _page(run, tmp_path)

    assert "Intervals" in page.texts and "mean width" in page.texts
    assert "85.0 % (5 to 80)" in page.texts


def test_a_metric_without_a_direction_is_listed_but_not_drawn_among_those_that_have_one(tmp_path):
    evaluation = documents.evaluation()
    names = [name for name, _ in charts.drawn_metrics(evaluation)]

    page = _page(_run(tmp_path / "run"), tmp_path)

    assert names == ["auc", "log_loss"]
    assert "selection_rate" not in charts.metrics(evaluation)
    assert "selection rate" in page.texts


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = _run(tmp_path / "run")

    assert render(run, tmp_path / "one").read_bytes() == render(run, tmp_path / "two").read_bytes()
