"""One decision with its reasons: drift alone is watched, a risen loss retrains, and soon after a release rolls back."""

from pathlib import Path

import pytest

from components.decision import logic
from components.shared.documents.data_quality import DataQuality
from components.shared.documents.monitoring import (
    DriftReport,
    JointDrift,
    LabelJoin,
    LogWindow,
    MonitoringDecision,
    PerformanceReport,
)
from components.shared.incidents.store import is_incident
from tests import documents
from tests.components import made_candidate

MOVED = documents.column_drift(value=0.7, effect=0.7, is_drift=True)

JOINT = JointDrift(method="a classifier", statistic="AUC", value=0.7, threshold=0.55, is_drift=True)


@pytest.fixture
def decide(tmp_path: Path):
    def decided(
        *,
        at: LogWindow | None = None,
        drifted: DriftReport | None = None,
        measured: PerformanceReport | None = None,
        validated: DataQuality | None = None,
        **retraining: float,
    ):
        (at or documents.log_window()).write(tmp_path / "window")
        (drifted or documents.drift_report()).write(tmp_path / "drift")
        (measured or documents.performance_report()).write(tmp_path / "performance")
        (validated or documents.data_quality()).write(tmp_path / "quality")
        folders = (tmp_path / name for name in ("window", "drift", "performance", "quality"))
        sections = {"monitoring": {"rollback_days": 7}, "retraining": retraining}
        return logic.decide(made_candidate.project(**sections), *folders)

    return decided


def states(decision: MonitoringDecision) -> dict[str, str]:
    return {signal.name: signal.state for signal in decision.signals}


def test_where_nothing_changed_there_is_nothing_to_do(decide):
    decision = decide()

    assert decision.action == "nothing"
    assert decision.reasons == ("1,200 rows look like the reference, and the loss has not risen",)
    assert states(decision) == {"data quality": "quiet", "input drift": "quiet", "loss": "quiet"}


@pytest.mark.parametrize(
    ("drifted", "signal", "sentence"),
    [
        ({"columns": (MOVED,)}, "input drift", "1 of 1 inputs differ from the reference: usage (normed W"),
        ({"prediction": MOVED}, "prediction drift", "the scores differ from those of the reference"),
        ({"label": MOVED}, "label shift", "the labels differ from those of the reference"),
        ({"joint": JOINT}, "input drift", "relation between inputs has"),
    ],
)  # fmt: skip
def test_drift_alone_is_watched_and_named_by_its_kind(decide, drifted, signal, sentence):
    decision = decide(drifted=documents.drift_report(**drifted))

    assert decision.action == "watch"
    assert [s.name for s in decision.signals if s.state == "changed"] == [signal]
    assert len(decision.reasons) == 1 and sentence in decision.reasons[0]


def test_a_risen_loss_retrains_and_is_the_only_reason(decide):
    measured = documents.performance_report("2026-03-01").model_copy(update={"changed_on": "2026-02-20"})
    decision = decide(drifted=documents.drift_report(columns=(MOVED,)), measured=measured)

    assert (decision.action, decision.changed_on) == ("retrain", "2026-02-20")
    [reason] = decision.reasons
    assert reason.startswith("the loss has risen, proven on 2026-03-01: 25.0% wrong answers on 300 labeled rows, 20.0%")
    assert states(decision)["input drift"] == "changed"


@pytest.mark.parametrize(("last", "action"), [("2026-01-08", "roll back"), ("2026-01-09", "retrain")])
def test_a_loss_that_rises_within_a_week_of_the_release_rolls_it_back(decide, last, action):
    assert decide(measured=documents.performance_report(last, days=("2026-01-01", last))).action == action


def test_what_is_unknown_is_watched_and_never_nothing(decide):
    unknown = PerformanceReport(mode="inputs only", release="1", loss="", reason="nothing was logged")

    assert decide(measured=unknown).reasons == (
        "performance is unknown, and so is a change of what the inputs mean: nothing was logged",
    )
    assert decide(drifted=DriftReport(reference_rows=0, rows=3, reason="only 3 rows")).action == "watch"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"from_the_future": 4}, "4 rows have an event time that is later than their request by more than a day"),
        ({"damaged": ("the log x is damaged.",)}, "the log x is damaged"),
        ({"labels": LabelJoin(known=9, joined=0, revised=0, early=0)}, "none of the 9 labels belongs to a logged row"),
    ],
)
def test_what_is_wrong_with_the_log_is_a_reason_to_look(decide, changes, sentence):
    decision = decide(at=documents.log_window(**changes))

    assert decision.action == "watch" and sentence in decision.reasons[0]


@pytest.mark.parametrize(
    ("found", "alarm", "cause"),
    [
        ({}, False, None),
        ({"columns": (MOVED,)}, False, "drift"),
        ({"columns": (MOVED,)}, True, "drift"),
        ({"prediction": MOVED}, False, "drift"),
        ({"columns": (MOVED,), "label": MOVED}, False, "label shift"),
        ({}, True, "concept drift"),
        ({"columns": (MOVED.model_copy(update={"effect": 3.0}),), "label": MOVED}, True, "upstream"),
        ({"columns": (MOVED.model_copy(update={"effect": 2.9}),)}, True, "drift"),
        ({"columns": (MOVED.model_copy(update={"statistic": "Jensen-Shannon", "effect": 0.6}),)}, False, "upstream"),
        ({"columns": (MOVED.model_copy(update={"missing": 0.3}),)}, False, "upstream"),
        ({"columns": (MOVED.model_copy(update={"usual": 0.99, "usual_now": 0.9}),)}, False, "upstream"),
        ({"columns": (MOVED.model_copy(update={"usual": 0.98, "usual_now": 0.1}),)}, False, "drift"),
        ({"columns": (MOVED.model_copy(update={"usual": 1.0, "usual_now": 0.91}),)}, False, "drift"),
        ({"columns": (MOVED.model_copy(update={"reason": "the log does not have this column"}),)}, False, "upstream"),
        ({"columns": (MOVED.model_copy(update={"effect": 9.0, "is_drift": False}),)}, False, None),
    ],
)
def test_the_likely_cause_is_what_is_wrong_before_the_model(decide, found, alarm, cause):
    measured = documents.performance_report(*(["2026-03-01"] if alarm else []))

    assert decide(drifted=documents.drift_report(**found), measured=measured).cause == cause


def test_a_problem_of_the_log_comes_before_any_drift(decide):
    broken = documents.log_window(damaged=("the log x is damaged.",))

    assert decide(at=broken, drifted=documents.drift_report(columns=(MOVED,))).cause == "data pipeline"


def test_most_important_inputs_are_named_and_the_others_counted(decide):
    moved = tuple(MOVED.model_copy(update={"column": name}) for name in "abcde")

    [reason] = decide(drifted=documents.drift_report(columns=moved)).reasons

    assert reason.startswith("5 of 5 inputs differ") and "c (" in reason and "d (" not in reason
    assert reason.endswith("and 2 more")


RISEN = documents.estimate(is_risen=True)
UNKNOWN = documents.estimate(loss=None, outside=0.3, reason="cannot know: 30% of the rows are new")


@pytest.mark.parametrize(
    ("estimate", "action", "cause", "is_costly", "sentence"),
    [
        (None, "nothing", None, False, None),
        (documents.estimate(), "nothing", None, False, "the loss is not expected to rise: 20.0% ("),
        (RISEN, "watch", "drift", False, "more wrong answers than tolerated are to be expected: 20.0% ("),
        (UNKNOWN, "watch", None, False, "the loss of the newest rows is not estimated: cannot know: 30% of"),
    ],
)
def test_drift_that_is_expected_to_cost_something_is_watched_and_never_retrains(
    decide, estimate, action, cause, is_costly, sentence
):
    decision = decide(measured=documents.performance_report(estimate=estimate))

    assert (decision.action, decision.cause, decision.is_costly) == (action, cause, is_costly)
    drifted = decide(
        measured=documents.performance_report(estimate=estimate), drifted=documents.drift_report(prediction=MOVED)
    )
    assert drifted.is_costly == (estimate is RISEN)
    said = [signal.sentence for signal in decision.signals if signal.name == "estimated loss"]
    assert len(said) == (sentence is not None) and all(one.startswith(sentence) for one in said)


def test_rows_to_label_are_named_where_there_is_something_to_do(decide):
    rows = ({"request_id": "a", "row": 0},)

    assert decide(measured=documents.performance_report(to_label=rows)).to_label == ()
    asked = decide(measured=documents.performance_report(to_label=rows, estimate=RISEN)).to_label
    assert [row.request_id for row in asked] == ["a"]


def test_a_loss_that_rises_in_one_part_of_the_rows_retrains_and_names_the_part(decide):
    parts = (
        documents.segment_loss("pro", alarm="2026-03-02", rate=0.41),
        documents.segment_loss("basic"),
        documents.segment_loss("plus", alarm="2026-02-02"),
    )

    decision = decide(measured=documents.performance_report(segments=parts))

    assert (decision.action, decision.cause) == ("retrain", "concept drift")
    [reason] = decision.reasons
    assert reason.startswith(
        "the loss has risen where plan = plus, proven on 2026-02-02: 25.0% wrong answers, 20.0% on"
    )
    assert "; plan = pro, proven on 2026-03-02: 41.0%" in reason
    assert decision.effect == "21.0 more wrong answers per 100 rows than on the test rows where plan = pro"
    quiet = decide(measured=documents.performance_report(segments=parts[1:2]))
    assert quiet.action == "nothing" and states(quiet)["segment loss"] == "quiet" and quiet.effect is None


def test_what_a_risen_loss_costs_is_said_by_the_newest_days(decide):
    days = [f"2026-01-{day:02d}" for day in range(1, 21)]
    measured = documents.performance_report("2026-01-20", days=days, reference_rate=0.15)

    assert (
        decide(measured=measured).effect == "5.0 more wrong answers per 100 rows than on the test rows, about 60 a week"
    )


@pytest.mark.parametrize(
    ("estimate", "cause"), [(None, "drift"), (RISEN, "drift"), (documents.estimate(), "concept drift")]
)
def test_a_risen_loss_that_the_scores_do_not_expect_is_not_the_populations_fault(decide, estimate, cause):
    measured = documents.performance_report("2026-03-01", estimate=estimate)

    assert decide(drifted=documents.drift_report(columns=(MOVED,)), measured=measured).cause == cause


@pytest.mark.parametrize(
    ("days", "action", "state"), [(31.0, "retrain", "due"), (31.1, "nothing", "quiet"), (None, "nothing", None)]
)
def test_a_model_is_retrained_when_it_has_answered_as_long_as_the_project_says(decide, days, action, state):
    at = documents.log_window(answering_since="2026-05-01T00:00:00+00:00")

    decision = decide(at=at, every_days=days)

    assert (decision.action, states(decision).get("age")) == (action, state)
    assert (decision.until, decision.cause, decision.is_costly) == (at.end, None, False)
    if state == "due":
        assert decision.reasons == (
            "release 1 has answered for 31.0 days; the model is retrained after 31",
        )  # fmt: skip


@pytest.mark.parametrize(("labels", "action"), [(499, "nothing"), (500, "retrain")])
def test_a_model_is_retrained_when_enough_labels_have_become_known(decide, labels, action):
    at = documents.log_window(answering_since="2026-05-01T00:00:00+00:00", new_labels=labels)

    assert decide(at=at, new_labels=500).action == action


def test_rows_that_are_broken_upstream_are_not_trained_on_however_old_the_model_is(decide):
    at = documents.log_window(answering_since="2025-05-01T00:00:00+00:00")
    broken = documents.column_drift(value=5.0, effect=5.0, is_drift=True)

    decision = decide(at=at, drifted=documents.drift_report(columns=(broken,)), every_days=30)

    assert (decision.action, decision.cause, states(decision)["age"]) == ("watch", "upstream", "due")


def test_an_alarm_is_the_reason_even_where_the_model_is_due_by_its_age(decide):
    at = documents.log_window(answering_since="2025-05-01T00:00:00+00:00")

    decision = decide(at=at, measured=documents.performance_report("2026-03-01"), every_days=30)

    assert decision.action == "retrain" and decision.is_alarm
    assert len(decision.reasons) == 1 and decision.reasons[0].startswith("the loss has risen")


@pytest.mark.parametrize(("share", "cause"), [(0.049, None), (0.05, "upstream"), (1.0, "upstream"), (None, None)])
def test_inputs_that_violate_their_schema_are_watched_and_an_incident_only_where_the_column_is_wrong(
    decide, share, cause
):
    found = documents.quality_finding(share=share)

    decision = decide(validated=documents.data_quality(findings=(found,)))

    assert (decision.action, decision.cause, is_incident(decision)) == ("watch", cause, cause is not None)
    assert decision.reasons == (f"1 of 2 inputs violate their schema: {found.sentence}",)
    assert states(decision)["data quality"] == "changed"


def test_rows_that_nobody_could_validate_are_unknown_and_of_many_findings_some_are_counted(decide):
    unknown = decide(validated=documents.data_quality(columns=0, reason="only 3 rows were logged"))
    many = decide(validated=documents.data_quality(findings=(documents.quality_finding(),) * 5))

    assert (unknown.action, unknown.reasons) == ("watch", ("data quality is unknown: only 3 rows were logged",))
    assert many.reasons[0].startswith("1 of 2 inputs") and many.reasons[0].endswith("; and 2 more")


GAP = documents.watched_metric(
    signal="fairness", name="gap between the selection rates by age", metric=documents.metric(0.11), reference=0.03
)


SLOW = documents.watched_metric(
    signal="latency", name="share of requests slower than 100 ms", metric=documents.metric(0.2), alarm="2026-03-01"
)


@pytest.mark.parametrize(
    ("watched", "days", "action", "cause", "is_alarm"),
    [
        ((documents.watched_metric(), GAP), ("2026-01-01",), "nothing", None, False),
        ((documents.watched_metric(alarm="2026-03-01"),), ("2026-01-01",), "watch", None, False),
        ((documents.watched_metric(alarm="2026-01-05"),), ("2026-01-01",), "watch", None, False),
        ((GAP.model_copy(update={"alarm": "2026-03-01"}),), ("2026-01-01",), "watch", "drift", False),
        ((SLOW,), ("2026-01-01",), "watch", "service", False),
    ],
)
def test_a_value_that_falls_is_watched_and_a_wider_gap_between_groups_is_an_incident_only(
    decide, watched, days, action, cause, is_alarm
):
    decision = decide(measured=documents.performance_report(watched=watched, days=days))

    assert (decision.action, decision.cause, decision.is_alarm) == (action, cause, is_alarm)
    assert is_incident(decision) == (cause is not None)


def test_a_figure_is_given_with_its_interval_beside_that_of_the_test_rows(decide):
    decision = decide(measured=documents.performance_report(watched=(documents.watched_metric(), GAP)))

    sentences = {signal.name: signal.sentence for signal in decision.signals}
    assert sentences["value"] == (
        "decisions are not worth less than on the test rows: EUR gained per 1,000 rows 2,000 (1,850 to 2,150), 2,100 "
        "on the test rows"
    )
    assert sentences["fairness"].endswith("by age 0.11 (0.09 to 0.13), 0.03 on the test rows")


def test_a_slow_server_hides_no_broken_rows_from_a_model_that_is_due(decide):
    at = documents.log_window(answering_since="2026-05-01T00:00:00+00:00")
    broken = documents.drift_report(columns=(documents.column_drift(value=5.0, effect=5.0, is_drift=True),))
    slow = documents.performance_report(watched=(SLOW,))

    decision = decide(at=at, measured=slow, drifted=broken, every_days=31.0)

    assert (decision.action, decision.cause) == ("watch", "service")


def test_an_alarm_that_calls_for_no_model_is_no_reason_to_retrain_one_that_is_due(decide):
    at = documents.log_window(answering_since="2026-05-01T00:00:00+00:00")
    gap = documents.performance_report(watched=(GAP.model_copy(update={"alarm": "2026-03-01"}),))

    decision = decide(at=at, measured=gap, every_days=31.0)

    assert (decision.action, decision.is_alarm, len(decision.reasons)) == ("retrain", False, 1)
    assert decision.reasons[0].startswith("release 1 has answered for 31.0 days")
