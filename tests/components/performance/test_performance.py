"""What the due labels say of a release: its metrics, and whether its losses have risen, with the promised guarantee."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.performance import budget, logic
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import PerformanceReport
from components.shared.project import AlertBudget, Value
from components.shared.sequential import change_point
from tests import documents
from tests.components import made_log

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def labeled(days: int, per_day: int, loss: float | Callable[[int], float], seed: int, **columns: Any) -> pa.Table:
    """Return rows with labels and decisions, wrong at a rate that may depend on the day."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), per_day)
    rates = np.array([loss(int(d)) if callable(loss) else loss for d in day])
    label = rng.uniform(size=len(day)) < 0.4
    wrong = rng.uniform(size=len(day)) < rates
    decision = label ^ wrong
    made = {
        "request_id": pa.array([f"r{n}" for n in range(len(day))]),
        "row": pa.array(np.zeros(len(day), np.int32)),
        "event_time": pa.array([FIRST + timedelta(days=int(d)) for d in day], pa.timestamp("us", "UTC")),
        "score": pa.array(np.where(decision, 0.8, 0.1)),
        "decision": pa.array(np.where(decision, "yes", "no")),
        "label": pa.array(np.where(label, "yes", "no")),
        "action": pa.nulls(len(day), pa.string()),
        "propensity": pa.nulls(len(day), pa.float64()),
    }
    return pa.table(made | columns)


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., PerformanceReport]:
    def measured(
        reference: pa.Table | None,
        history: pa.Table,
        facts: ModelFacts | None = None,
        window: dict[str, Any] | None = None,
        rows: pa.Table | None = None,
        label: dict[str, Any] | None = None,
        slices: tuple[str, ...] = (),
        fairness: tuple[str, ...] = (),
        value: Value | None = None,
        **monitoring: Any,
    ) -> PerformanceReport:
        folder, model, evaluation = tmp_path / "window", tmp_path / "model", tmp_path / "measured" / "evaluation"
        for made in (folder, model / "package", evaluation):
            made.mkdir(parents=True, exist_ok=True)
        known = len(history) - history["label"].null_count
        due = {"due": len(history), "due_labeled": known, "release": "1"} | (window or {})
        documents.log_window(**due).write(folder)
        pq.write_table(history, folder / "history.parquet")
        shown = history if rows is None else rows
        pq.write_table(shown.append_column("release", pa.array(["1"] * len(shown))), folder / "rows.parquet")
        documents.champion("1").write(model)
        (facts or documents.model_facts(threshold=0.5)).write(model / "package")
        documents.evaluation().write(evaluation)
        if reference is not None:
            pq.write_table(reference, evaluation / "reference.parquet")
        project = made_log.project(**monitoring)
        selective = project.label.model_copy(update=label or {})
        sliced = project.evaluation.model_copy(update={"slices": slices, "fairness": fairness})
        project = project.model_copy(update={"label": selective, "evaluation": sliced, "value": value})
        return logic.measure(project, folder, model, evaluation.parent)

    return measured


def test_a_loss_that_stays_raises_no_alarm_in_half_a_year(measure):
    for seed in range(6):
        report = measure(labeled(90, 100, 0.2, seed), labeled(180, 100, 0.2, seed + 50))

        assert report.alarm is None
        assert len(report.periods) == 180 and max(period.evidence for period in report.periods) < 1


def test_a_loss_that_rises_is_proven_within_days(measure):
    reference = labeled(90, 200, 0.2, 1)
    delays, began = [], []
    for seed in range(6):
        history = labeled(120, 200, lambda day: 0.2 if day < 60 else 0.27, seed + 50)
        report = measure(reference, history)
        delays.append((datetime.fromisoformat(report.alarm.day).replace(tzinfo=UTC) - FIRST).days - 60)
        began.append((datetime.fromisoformat(report.changed_on).replace(tzinfo=UTC) - FIRST).days - 60)

    assert min(delays) >= 0 and np.median(delays) <= 8
    assert max(map(abs, began)) <= 6, "the day on which it began, not that of the alarm"


def test_a_rise_that_the_project_tolerates_is_none(measure):
    reference, history = labeled(90, 200, 0.2, 1), labeled(120, 200, 0.27, 2)

    assert measure(reference, history).alarm is not None
    tolerant = measure(reference, history, loss_increase=0.1)
    assert tolerant.alarm is None and tolerant.changed_on is None and tolerant.tolerated == pytest.approx(0.3, abs=0.02)


def test_a_larger_budget_of_false_alarms_promises_a_shorter_run(measure):
    reference, history = labeled(90, 50, 0.2, 1), labeled(20, 50, 0.2, 2)

    assert measure(reference, history).run_length_days == 730
    frequent = measure(reference, history, alerts={"false_alarms": 12, "days": 365})
    assert frequent.run_length_days == pytest.approx(2 * 365 / 12)


def test_the_loss_has_half_of_the_budget_and_what_is_not_tested_leaves_its_share_to_the_others():
    alerts = AlertBudget(false_alarms=1, days=365)

    whole = budget.run_lengths(alerts, {budget.ESTIMATE, budget.SEGMENTS, budget.POSITIVES})
    fewer = budget.run_lengths(alerts, {budget.ESTIMATE, budget.SEGMENTS})

    assert whole[budget.LOSS] == fewer[budget.LOSS] == 730
    assert (whole[budget.SEGMENTS], fewer[budget.SEGMENTS]) == (8 * 365, pytest.approx(6 * 365))
    assert budget.run_lengths(alerts, ()) == {budget.LOSS: 365}


@given(st.sets(st.sampled_from(sorted(budget._WEIGHTS))), st.floats(0.1, 9), st.floats(10, 999))
def test_all_tests_together_spend_the_whole_budget_and_no_more(tested, false_alarms, days):
    lengths = budget.run_lengths(AlertBudget(false_alarms=false_alarms, days=days), tested)

    assert set(lengths) == tested | {budget.LOSS}
    assert sum(1 / length for length in lengths.values()) == pytest.approx(false_alarms / days)


def test_value_and_fairness_are_watched_where_the_project_declares_them_and_share_the_budget(measure):
    def grouped(days: int, seed: int) -> pa.Table:
        ages = pa.array(np.random.default_rng(seed).choice(["old", "young"], days * 50))
        return labeled(days, 50, 0.2, seed, **{"received.age": ages})

    reference, history = grouped(20, 1), grouped(10, 2)
    declared = {"fairness": ("age", "gender"), "value": Value(benefit=8, success_rate=0.5)}

    watched = {one.signal: one for one in measure(reference, history, **declared).watched}

    assert set(watched) == {"value", "fairness"}
    # The estimate has 2 parts; the positive answers, the groups' losses, value and fairness have 1 each.
    assert [one.run_length_days for one in watched.values()] == pytest.approx([6 * 730, 6 * 730])
    assert watched["fairness"].name.endswith("by age") and not any(one.alarm for one in watched.values())
    assert measure(reference, history).watched == ()
    hidden = {"label": {"hidden_after": ("no",)}, "exploration": 0.05}
    assert measure(reference, history, **declared, **hidden).watched == ()


def test_metrics_are_those_of_the_labeled_rows_and_stand_beside_those_of_the_release(measure):
    history = labeled(20, 100, 0.25, 2)
    partly = history.set_column(
        5, "label", pa.array([v if n % 2 else None for n, v in enumerate(history["label"].to_pylist())])
    )

    report = measure(labeled(90, 50, 0.2, 1), partly)

    known = partly.filter(pa.compute.is_valid(partly["label"]))
    right = np.mean(np.array(known["label"].to_pylist()) == np.array(known["decision"].to_pylist()))
    assert report.metrics["accuracy"].value == pytest.approx(right)
    assert report.metrics["accuracy"].low < right < report.metrics["accuracy"].high
    assert report.rate == pytest.approx(1 - right)
    assert report.reference["auc"] == 0.8123
    assert sum(period.labeled for period in report.periods) == 1000 and report.periods[0].rows == 100


def test_days_that_differ_widen_what_is_expected_of_a_day(measure):
    calm = measure(labeled(90, 200, 0.2, 1), labeled(10, 200, 0.2, 2))
    rough = measure(labeled(90, 200, lambda day: 0.1 + 0.2 * (day % 2), 1), labeled(10, 200, 0.2, 2))

    def spread(report: PerformanceReport) -> float:
        return float(report.guarantee.split("at most ")[1].split(",")[0])

    assert spread(calm) < 0.03 < spread(rough)


def test_a_reference_of_few_days_promises_less_and_says_so(measure):
    report = measure(labeled(3, 300, 0.2, 1), labeled(40, 200, 0.2, 2))

    assert "3 days of test rows are too few" in report.guarantee
    assert report.tolerated > 0.2 and report.alarm is None
    assert measure(labeled(3, 300, 0.2, 1), labeled(60, 200, 0.4, 2)).alarm is not None


def test_a_regression_loses_where_its_error_exceeds_what_nine_of_ten_test_rows_had(measure):
    facts = documents.model_facts(task="regression", classes=None, positive=None, threshold=None)

    def scored(count: int, spread: float, seed: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        truth = rng.normal(10, 3, count)
        labels = pa.array([str(value) for value in truth])
        score = pa.array(truth + rng.normal(0, spread, count))
        made = labeled(20, count // 20, 0, seed, score=score, label=labels)
        return made.set_column(4, "decision", pa.nulls(count, pa.string()))

    same, worse = (measure(scored(4000, 1, 1), scored(4000, spread, 2), facts) for spread in (1, 1.6))

    assert same.reference_rate == pytest.approx(0.1, abs=0.001) and same.rate == pytest.approx(0.1, abs=0.02)
    assert same.alarm is None and worse.alarm is not None
    assert same.metrics["rmse"].value == pytest.approx(1, abs=0.05)
    assert "errors above 1.6" in same.loss


def test_several_classes_are_measured_by_their_decisions(measure):
    facts = documents.model_facts(task="multiclass", classes=("a", "b", "c"), positive=None, threshold=None)
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 2000)
    decision = np.where(rng.uniform(size=2000) < 0.3, (label + 1) % 3, label)
    scores = np.full((2000, 3), 0.1)
    scores[np.arange(2000), decision] = 0.8
    names = np.array(["a", "b", "c"])
    made = labeled(20, 100, 0, 1).drop_columns(["score"])
    made = made.set_column(3, "decision", pa.array(names[decision])).set_column(4, "label", pa.array(names[label]))
    made = made.append_column("scores", pa.array(list(scores)))

    report = measure(made, made, facts)

    assert report.rate == pytest.approx(np.mean(label != decision))
    assert report.metrics["accuracy"].value == pytest.approx(1 - report.rate)


@pytest.mark.parametrize(
    ("window", "mode", "reason"),
    [
        (
            {"due": 40, "due_labeled": 29},
            "estimated",
            "29 of the release's 40 rows that are older than 30 days have a label",
        ),
        ({"due": 0, "due_labeled": 0, "young_labeled": 7}, "estimated", "7 labels belong to rows that are not due"),
        ({"release": None}, "inputs only", "nothing was logged"),
        ({"release": "2"}, "inputs only", "release 2 answered last, and version 1 is the champion"),
    ],
)
def test_what_can_not_be_known_is_said_and_not_measured(measure, window, mode, reason):
    report = measure(labeled(90, 50, 0.2, 1), labeled(10, 50, 0.2, 2), window=window)

    assert report.mode == mode and reason in report.reason
    assert report.metrics == {} and report.periods == () and report.rate is None


def test_a_champion_without_a_reference_says_so(measure):
    assert "the champion has no reference rows" in measure(None, labeled(10, 50, 0.2, 2)).reason


def test_rows_to_label_are_a_random_sample_of_those_without_a_label(measure):
    history = labeled(20, 100, 0.2, 2)
    ids = [row["request_id"] for row in history.to_pylist()]
    unlabeled = history.set_column(5, "label", pa.array([None] * 1000 + ["yes"] * 1000))

    chosen = [row.request_id for row in measure(labeled(90, 50, 0.2, 1), history, rows=unlabeled).to_label]

    assert len(set(chosen)) == 200 and set(chosen) <= set(ids[:1000])
    assert 400 < np.mean([ids.index(one) for one in chosen]) < 600
    assert measure(labeled(90, 50, 0.2, 1), history).to_label == ()


def hidden(days: int, share: float, seed: int) -> pa.Table:
    """Return rows whose label is hidden by the decision "no", except where a random share of them was reversed."""
    table, rng = labeled(days, 200, 0.2, seed), np.random.default_rng(seed + 1000)
    decision = np.array(table["decision"].to_pylist())
    is_reversed = (decision == "no") & (rng.uniform(size=len(decision)) < share)
    action = np.where(is_reversed, "yes", decision)
    propensity = np.where(is_reversed, share, np.where(decision == "no", 1 - share, 1.0))
    columns = {
        "label": pa.array(table["label"].to_pylist(), mask=action == "no"),
        "action": pa.array(action),
        "propensity": pa.array(propensity),
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


SELECTIVE = {"hidden_after": ("no",)}


def test_labels_that_decisions_hide_leave_performance_unknown_without_exploration(measure):
    report = measure(labeled(90, 200, 0.2, 1), hidden(30, 0.0, 2), label=SELECTIVE)

    assert report.mode == "estimated" and report.rate is None
    assert report.reason.startswith("cannot know: a decision for 'no' hides or changes its label, and only 0 of such")
    assert report.to_label == (), "a label that is hidden cannot be asked for"


def test_with_exploration_the_loss_is_that_of_all_rows(measure):
    history = hidden(60, 0.05, 2)
    known = history.filter(pa.compute.is_valid(history["label"]))
    naive = np.mean(np.array(known["label"].to_pylist()) != np.array(known["decision"].to_pylist()))

    report = measure(labeled(90, 200, 0.2, 1), history, label=SELECTIVE)

    assert report.mode == "direct" and report.explored > 200 and report.alarm is None
    assert report.rate == pytest.approx(0.2, abs=0.02) and abs(naive - 0.2) > 0.05
    assert report.doubly_robust_rate == pytest.approx(0.2, abs=0.02)
    assert report.tolerated == pytest.approx(0.21, abs=0.02) and "stand for up to 20 rows" in report.guarantee
    assert report.segments == ()


def acted(days: int, changes: int, seed: int) -> pa.Table:
    """Return rows of which a fifth is acted on, half of them rightly; from a day on in vain, with fewer missed."""
    rows = labeled(days, 100, 0.0, seed)
    rng = np.random.default_rng(seed)
    is_before = np.repeat(np.arange(days), 100) < changes
    decision = rng.uniform(size=len(rows)) < 0.2
    # The share of wrong answers is .18 in either time.
    positive = np.where(decision, np.where(is_before, 0.5, 0.2), np.where(is_before, 0.1, 0.025))
    label = rng.uniform(size=len(rows)) < positive
    for name, values in (("decision", decision), ("label", label)):
        texts = pa.array(np.where(values, "yes", "no"))
        rows = rows.set_column(rows.column_names.index(name), name, texts)
    return rows


def test_an_alarm_of_the_rows_acted_on_dates_the_change_where_the_loss_of_all_rows_has_raised_none(measure):
    report = measure(acted(60, 60, 1), acted(90, 60, 2))

    assert report.alarm is None
    assert [part.where for part in report.alarming_segments] == [{"decision": "yes"}]
    assert abs((datetime.fromisoformat(report.changed_on).replace(tzinfo=UTC) - FIRST).days - 60) <= 6


def with_plans(days: int, changes: int, seed: int) -> pa.Table:
    """Return rows of which one in ten has the plan pro, from a day on never answered with yes; the others err less."""
    rows = labeled(days, 100, 0.0, seed)
    rng = np.random.default_rng(seed)
    is_after, is_pro = np.repeat(np.arange(days), 100) >= changes, np.arange(len(rows)) % 10 == 0
    label, wrong = np.array(rows["label"]) == "yes", rng.uniform(size=len(rows)) < np.where(is_after, 0.175, 0.2)
    decision = (label ^ wrong) & ~(is_after & is_pro)
    rows = rows.set_column(rows.column_names.index("decision"), "decision", pa.array(np.where(decision, "yes", "no")))
    return rows.append_column("received.plan", pa.array(np.where(is_pro, "pro", "basic")))


def test_damage_in_one_slice_alarms_but_dates_no_change_of_the_model(measure):
    report = measure(with_plans(60, 60, 1), with_plans(90, 60, 2), slices=("plan",))

    assert [part.where for part in report.alarming_segments] == [{"plan": "pro"}]
    assert report.alarming_segments[0].changed_on is not None
    assert report.changed_on is None


def test_the_loss_of_all_rows_dates_the_change_where_it_has_raised_an_alarm(measure):
    history = labeled(120, 200, lambda day: 0.2 if day < 60 else 0.27, 50)

    report = measure(labeled(90, 200, 0.2, 1), history)

    losses_by_day = [(period.losses, period.labeled) for period in report.periods]
    began = change_point.began(*zip(*losses_by_day, strict=True), report.reference_rate)
    assert report.changed_on == report.periods[began].day
