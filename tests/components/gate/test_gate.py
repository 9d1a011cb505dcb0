"""The gate promotes a candidate only when every rule of the project holds, and gives each rule's numbers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gate.logic import judge
from components.shared.documents.evaluation import Comparisons, EvaluatedRows, EvaluationReport
from components.shared.documents.measurements import SingleColumn
from components.shared.documents.verdict import Verdict
from components.shared.errors import InputError
from tests import documents
from tests.components.gate.evaluations import (
    calibration,
    comparisons,
    in_metric,
    measured,
    metrics,
    old_rows,
    project,
    rows,
    ruling,
)

EVERY_RULE: dict[str, Any] = {
    "plain_margin": 0.01,
    "champion_margin": 0.005,
    "floors": {"auc": 0.7, "recall": 0.5},
    "ceilings": {"brier": 0.2, "ece": 0.05},
    "slice_gap": 0.05,
    "fairness_gap": 0.1,
    "value_positive": True,
    "old_rows_margin": 0.25,
    "latency_ms": 1.0,
    "size_mib": 2.0,
    "min_test_rows": 50,
}


def test_a_candidate_that_holds_every_rule_is_promoted():
    verdict = judge(project(**EVERY_RULE), measured())

    assert verdict.promote
    assert [ruling.rule for ruling in verdict.rules] == [
        "test rows", "class rows", "rule", "plain model", "plain model probabilities", "plain model decisions",
        "floor auc", "floor recall", "ceiling brier", "ceiling ece", "slices", "fairness region", "value",
        "old rows", "latency", "size",
    ]  # fmt: skip


LEAK = SingleColumn(column="reason", metric="auc", alone=1.0, together=1.0, remark="'reason' alone reaches auc 1.000")


def test_a_column_that_seems_to_know_the_answer_is_a_warning():
    verdict = judge(project(), measured(single_column=LEAK))

    assert verdict.promote
    assert (ruling(verdict, "leak").remark, ruling(verdict, "leak").reason) == ("warning", LEAK.remark)


def test_a_perfect_rule_that_cannot_be_beaten_is_put_down_to_the_column_and_not_to_missing_features():
    verdict = judge(project(), measured(single_column=LEAK, comparisons=comparisons(0.0, 0.0)))

    assert not verdict.promote
    assert ruling(verdict, "rule").phase == "data"
    assert "'reason' alone reaches auc 1.000" in ruling(verdict, "rule").reason


def by_class(**counts: int) -> EvaluatedRows:
    return rows(sum(counts.values())).model_copy(update={"by_class": counts})


def test_many_rows_with_hardly_a_positive_prove_nothing():
    verdict = judge(project(), measured(rows=by_class(no=3980, yes=20)))

    assert not verdict.promote
    assert ruling(verdict, "class rows").reason == "20 test rows of the rarest class 'yes', 25 needed"
    assert judge(project(), measured(rows=by_class(no=3975, yes=25))).promote
    assert judge(project(min_class_rows=20), measured(rows=by_class(no=3980, yes=20))).promote


def test_of_several_classes_those_with_a_handful_of_rows_are_named_and_not_judged():
    several = measured(task="multiclass", rows=by_class(a=400, b=30, c=19, d=4))

    verdict = judge(project(), several)

    assert ruling(verdict, "class rows").passed
    assert ruling(verdict, "class rows").reason == (
        "30 test rows of the rarest class 'b', 25 needed; too few to be judged: 'c' and 'd'"
    )


def test_where_all_classes_are_small_those_with_a_row_are_judged():
    small = measured(task="multiclass", rows=by_class(a=15, b=12, c=0))

    reason = ruling(judge(project(min_class_rows=10, min_test_rows=20), small), "class rows").reason

    assert reason == "12 test rows of the rarest class 'b', 10 needed; too few to be judged: 'c'"


def test_every_broken_rule_is_reported_not_only_the_first():
    evaluation = measured(
        rows=rows(49), comparisons=comparisons(0.004, -0.02), metrics=metrics(auc=0.69, brier=0.21),
        cost=documents.cost(size_mib=2.5),
    )  # fmt: skip

    verdict = judge(project(**EVERY_RULE), evaluation)

    assert not verdict.promote
    assert [ruling.rule for ruling in verdict.rules if not ruling.passed] == [
        "test rows", "class rows", "rule", "plain model", "floor auc", "ceiling brier", "size",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "rule", "sentence", "phase"),
    [
        ({"rows": rows(10, excluded=3)}, "test rows", r"10 test rows, 50 needed; 3 were excluded", "data"),
        ({"comparisons": comparisons(0.001, 0.0)}, "rule",
         r"auc differs by \+0.0010 \(95 % interval -0.0040 to \+0.0060\) from the rule of thumb; "
         "the lower confidence bound must be above 0", "features"),
        ({"comparisons": comparisons(0.1, -0.01)}, "plain model",
         r"interval -0.0150 to -0.0050\) from the plain model; "
         "the lower confidence bound may be at most 0.01 worse", "tuning"),
        ({"comparisons": comparisons(0.1, 0.0, -0.01)}, "champion",
         r"interval -0.0150 to -0.0050\) from the champion; "
         "the lower confidence bound may be at most 0.005 worse", "training"),
        ({"metrics": metrics(auc=0.6912, brier=0.1)}, "floor auc", r"auc is 0.6912, at least 0.7 needed", "features"),
        ({"calibration": calibration(0.051)}, "ceiling ece", r"ece is 0.051, at most 0.05 needed", "features"),
        ({"slices": (documents.slice_measure(-0.0612, rows=90),)}, "slices",
         r"plan = basic \(90 rows\) loses 0.0612 auc against all rows, .*at most 0.05 allowed", "data"),
        ({"fairness": (documents.fairness(column="region", demographic_parity_difference=0.3),)}, "fairness region",
         r"selection rates of 'region' differ by 0.3, at most 0.1 allowed", "features"),
        ({"value": documents.value(total=-36_400.0)}, "value", r"worth 36,400 EUR less than", "training"),
        ({"old_rows": old_rows(0.7)}, "old rows",
         r"log_loss is 0.7 on 800 old rows \(until 2025-03-31, sha256 0123456789ab\), 0.4 when they were chosen; "
         "at most 0.25 more allowed", "training"),
        ({"old_rows": old_rows(None)}, "old rows", "log_loss is undefined on the 800 old rows", "training"),
        ({"cost": documents.cost(latency_ms_p50=1.5)}, "latency", r"one row takes 1.5 ms .*at most 1 ms", "tuning"),
        ({"cost": documents.cost(size_mib=3)}, "size", r"has 3 MiB, at most 2 MiB", "tuning"),
    ],
)  # fmt: skip
def test_a_broken_rule_says_its_numbers_and_where_to_go_back_to(change, rule, sentence, phase):
    verdict = judge(project(**EVERY_RULE), measured(**change))

    assert not verdict.promote
    assert not ruling(verdict, rule).passed
    assert ruling(verdict, rule).phase == phase
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(ruling(verdict, rule).reason)


def test_after_the_first_release_the_champion_is_compared_with_instead_of_the_rule_of_thumb():
    evaluation = measured(
        comparisons=comparisons(-0.5, 0.0, champion=0.0),
        probabilities=in_metric("log_loss", champion=0.0),
        decisions=in_metric("accuracy", champion=0.0),
    )

    verdict = judge(project(), evaluation)

    assert verdict.promote
    assert not verdict.first_release
    assert [ruling.rule for ruling in verdict.rules] == [
        "test rows", "class rows", "champion", "champion probabilities", "champion decisions", "champion in all",
    ]  # fmt: skip


def against_champion(auc: float, log_loss: float, accuracy: float, half: float = 0.001) -> EvaluationReport:
    return measured(
        comparisons=Comparisons(
            rule=documents.comparison(0.1),
            plain=documents.comparison(0.1),
            champion=documents.comparison(auc, half),
        ),
        probabilities=in_metric("log_loss", champion=log_loss, half=half),
        decisions=in_metric("accuracy", champion=accuracy, half=half),
    )


@pytest.mark.parametrize(
    ("auc", "log_loss", "accuracy", "broken"),
    [
        # As on electricity prices after a drift: the rank metric hardly differs, decisions and probabilities do.
        (-0.002, 0.121, -0.171, ["champion probabilities", "champion decisions", "champion in all"]),
        (0.001, 0.121, 0.0, ["champion probabilities"]),
        (0.001, 0.0, -0.171, ["champion decisions"]),
        # Each is within its margin, but nothing speaks for the candidate.
        (-0.002, 0.002, -0.002, ["champion in all"]),
        (-0.002, 0.0, -0.002, []),
        (-0.002, -0.002, -0.002, []),
        (-0.002, 0.002, 0.0, []),
        (0.0, 0.002, -0.002, []),
        (0.2, -0.3, 0.2, []),
    ],
)
def test_a_champion_is_defended_in_ranking_probabilities_and_decisions(auc, log_loss, accuracy, broken):
    verdict = judge(project(), against_champion(auc, log_loss, accuracy))

    assert [ruling.rule for ruling in verdict.failed] == broken
    assert verdict.promote is (not broken)


@pytest.mark.parametrize(
    ("aspect", "metric", "setting", "sign"),
    [("probabilities", "log_loss", "probability_margin", -1), ("decisions", "accuracy", "decision_margin", 1)],
)
@pytest.mark.parametrize("champion", [None, 0.01])
def test_each_comparison_has_its_own_margin_which_passes_at_its_bound(aspect, metric, setting, sign, champion):
    rule = f"{'plain model' if champion is None else 'champion'} {aspect}"

    def passes(least_advantage: float, margin: float | None) -> bool:
        inconclusive = in_metric(metric, sign * (least_advantage + 0.5), sign * (least_advantage + 0.5), half=0.5)
        gate = project(**{setting: margin})
        judged = ruling(judge(gate, measured(champion, **{aspect: inconclusive})), rule)
        # Of a loss, the upper bound is the bad one.
        assert (
            f"the {'upper' if sign < 0 else 'lower'} confidence bound may be at most {margin:g} worse" in judged.reason
        )
        return judged.passed

    assert passes(-0.25, 0.25)
    assert not passes(-0.25, 0.125)
    assert passes(0.25, 0.0)


def test_a_margin_of_null_names_what_was_not_judged():
    verdict = judge(project(champion_margin=None, decision_margin=None), against_champion(-0.5, 0.0, -0.5))

    unjudged = [judged.rule for judged in verdict.rules if judged.remark == "not judged"]
    assert verdict.promote
    assert unjudged == ["champion", "champion decisions"]
    assert "not judged, because 'gate: decision_margin' is null" in ruling(verdict, "champion decisions").reason


@pytest.mark.parametrize("champion", [None, 0.01])
def test_no_margin_passes_what_is_proven_worse_than_the_plain_model(champion):
    proven = {"comparisons": comparisons(0.1, -0.006, champion)}

    blocked = judge(project(plain_margin=0.5), measured(champion, **proven))
    warned = judge(project(plain_margin=0.5, worse_than_plain="warn"), measured(champion, **proven))

    assert [judged.rule for judged in blocked.failed] == ["plain model"]
    assert "the whole interval is worse" in ruling(blocked, "plain model").reason
    assert warned.promote
    assert ruling(warned, "plain model").remark == "warning"


@pytest.mark.parametrize("champion", [None, 0.01])
def test_the_plain_model_as_the_candidate_is_not_judged_against_itself(champion):
    verdict = judge(project(), measured(champion, comparisons=comparisons(0.1, 0.0, champion), family="plain"))

    assert verdict.promote
    named = [judged.reason for judged in verdict.rules if judged.rule.startswith("plain model")]
    assert named == (
        []
        if champion
        else ["the candidate is the plain model itself: no other family predicted the validation rows clearly better"]
    )


def test_an_interval_that_ends_at_no_difference_proves_nothing():
    touching = Comparisons(
        rule=documents.comparison(0.1), plain=documents.comparison(-0.005, low=-0.01, high=0.0), champion=None
    )

    assert judge(project(plain_margin=0.01), measured(comparisons=touching)).promote


def test_comparisons_without_an_interval_never_pass():
    nothing = documents.comparison(0.2, low=None, high=None)
    unknown = Comparisons(rule=nothing, plain=nothing, champion=nothing)

    verdict = judge(project(), measured(0.01, comparisons=unknown, probabilities=unknown, decisions=unknown))

    assert [judged.rule for judged in verdict.failed] == ["champion", "champion probabilities", "champion decisions"]


def test_a_champion_that_cannot_be_compared_makes_it_a_first_release_that_says_so():
    reason = "champion version 4 cannot be compared: gone"

    verdict = judge(project(), documents.evaluation(champion={"version": "4", "compared": False, "reason": reason}))

    assert verdict.first_release
    assert "cannot be compared: gone; judged as a first release" in ruling(verdict, "champion").reason
    assert {"rule", "plain model"} <= {ruling.rule for ruling in verdict.rules}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("plain model", {"comparisons": comparisons(0.1, -0.005)}),
        ("champion", {"comparisons": comparisons(0.1, 0.0, 0.0)}),
        ("floor auc", {"metrics": metrics(auc=0.7, brier=0.1)}),
        ("ceiling ece", {"calibration": calibration(0.05)}),
        ("slices", {"slices": (documents.slice_measure(-0.05),)}),
        ("fairness region", {"fairness": (documents.fairness(column="region"),)}),
        ("value", {"value": documents.value(total=0.0)}),
        ("old rows", {"old_rows": old_rows(0.65)}),
        ("latency", {"cost": documents.cost(latency_ms_p50=1.0)}),
        ("size", {"cost": documents.cost(size_mib=2.0)}),
        ("test rows", {"rows": rows(50)}),
    ],
)  # fmt: skip
def test_equality_with_a_bound_passes(rule, change):
    assert ruling(judge(project(**EVERY_RULE), measured(**change)), rule).passed


def test_old_rows_that_are_chosen_with_the_candidate_pass_with_the_reason():
    chosen = old_rows(9.0, chosen_because="no release before it had any")
    judged = ruling(judge(project(**EVERY_RULE), measured(old_rows=chosen)), "old rows")

    assert judged.passed
    assert judged.reason.endswith("are chosen with this candidate, because no release before it had any")


def test_the_bound_on_old_rows_is_that_of_the_first_release_however_many_forgot_a_little_since():
    margin = EVERY_RULE["old_rows_margin"]
    losses = [0.4 + margin * share for share in (0.4, 0.8, 1.2)]
    passed = [judge(project(**EVERY_RULE), measured(old_rows=old_rows(loss))).promote for loss in losses]

    assert passed == [True, True, False]


def test_without_a_margin_the_old_rows_judge_nobody():
    verdict = judge(project(), measured(old_rows=old_rows(9.0)))

    assert verdict.promote
    assert "old rows" not in {judged.rule for judged in verdict.rules}


def test_to_equal_the_rule_of_thumb_is_not_to_beat_it():
    assert not judge(project(), measured(comparisons=comparisons(0.005, 0.1))).promote


@pytest.mark.parametrize(("advantage", "promoted"), [(-0.02, True), (0.02, False)])
def test_a_metric_of_which_lower_is_better_is_compared_the_other_way_round(advantage, promoted):
    evaluation = measured(higher_is_better=False, comparisons=comparisons(advantage, advantage))

    assert judge(project(), evaluation).promote is promoted


@pytest.mark.parametrize(("shift", "passes"), [(0.2, False), (-0.2, True)])
def test_a_slice_with_more_error_loses_where_lower_is_better(shift, passes):
    evaluation = measured(higher_is_better=False, slices=(documents.slice_measure(shift),))

    assert ruling(judge(project(slice_gap=0.05, beat_rule=False), evaluation), "slices").passed is passes


def test_a_slice_whose_loss_may_be_chance_breaks_nothing():
    evaluation = measured(slices=(documents.slice_measure(-0.2, half=0.21),))

    assert ruling(judge(project(slice_gap=0.05), evaluation), "slices").passed


def test_of_several_bad_slices_the_worst_one_decides_and_is_named():
    slices = tuple(
        documents.slice_measure(shift, plan=name) for name, shift in (("basic", -0.02), ("plus", -0.2), ("pro", -0.03))
    )

    judged = ruling(judge(project(slice_gap=0.05), measured(slices=slices)), "slices")

    assert not judged.passed
    assert "plus" in judged.reason and "loses 0.2" in judged.reason


@pytest.mark.parametrize(("half", "passes"), [(0.25, True), (0.125, False)])
def test_a_slice_whose_loss_may_be_none_at_all_is_not_certain(half, passes):
    # Both are binary fractions: the better end of the first is exactly 0.
    evaluation = measured(slices=(documents.slice_measure(-0.25, half=half),))

    assert ruling(judge(project(slice_gap=0.05), evaluation), "slices").passed is passes


def test_groups_whose_gap_is_undefined_do_not_pass_and_are_named():
    groups = (documents.fairness(column="region", demographic_parity_difference=None),)

    judged = ruling(judge(project(fairness_gap=0.1), measured(fairness=groups)), "fairness region")

    assert not judged.passed
    assert "the groups of 'region' were not judged: fewer than two groups have enough rows" in judged.reason


def test_a_rule_set_to_null_is_off():
    verdict = judge(project(beat_rule=False, plain_margin=None), measured())

    assert [ruling.rule for ruling in verdict.rules if ruling.remark is None] == [
        "test rows", "class rows", "plain model probabilities", "plain model decisions",
    ]  # fmt: skip


def test_an_undefined_metric_or_interval_never_passes():
    without_interval = documents.comparison(0.2, low=None, high=None)
    evaluation = measured(
        metrics=metrics(recall=None),
        comparisons=Comparisons(rule=without_interval, plain=without_interval, champion=None),
    )

    verdict = judge(project(floors={"recall": 0.0}), evaluation)

    assert "recall is undefined on the test rows" in ruling(verdict, "floor recall").reason
    assert not ruling(verdict, "rule").passed
    assert not ruling(verdict, "floor recall").passed


@pytest.mark.parametrize(
    ("total", "champion_total", "passed", "remark"),
    [
        (0.0, -5.0, True, None),
        (-1.0, None, False, None),
        (-1.0, 0.0, False, None),
        (-1.0, 5.0, False, None),
        (-1.0, -1.0, True, "warning"),
        (-1.0, -5.0, True, "warning"),
        (-5.0, -1.0, False, None),
    ],
)
def test_a_model_that_loses_money_may_replace_one_that_loses_no_less(total, champion_total, passed, remark):
    value = documents.value(total=total, champion_total=champion_total)

    judged = ruling(judge(project(value_positive=True), measured(value=value)), "value")

    assert (judged.passed, judged.remark) == (passed, remark)


def test_what_the_champion_loses_is_in_the_reason():
    value = documents.value(total=-19.0, champion_total=-174.0)

    reason = ruling(judge(project(value_positive=True), measured(value=value)), "value").reason

    assert reason == (
        "acting on the model is worth 19.00 EUR less than acting on nobody on the test rows; acting on the champion is "
        "worth 174 EUR less than acting on nobody"
    )


@pytest.mark.parametrize(
    ("gate", "change", "sentence"),
    [
        ({"floors": {"acu": 0.7}}, {}, "'gate: floors' names 'acu', which was not measured.* did you mean 'auc'"),
        ({"ceilings": {"zzz": 0.7}}, {}, "'gate: ceilings' names 'zzz', which was not measured"),
        ({"floors": {"brier": 0.1}}, {}, "'brier', of which lower is better; put it under 'gate: ceilings'"),
        ({"ceilings": {"auc": 0.1}}, {}, "'auc', of which higher is better; put it under 'gate: floors'"),
        ({"fairness_gap": 0.1}, {"fairness": []}, "no groups were compared"),
        ({"value_positive": True}, {"value": None}, "no value was measured"),
    ],
)
def test_a_rule_about_something_unmeasured_is_bad_input(gate, change, sentence):
    with pytest.raises(InputError, match=sentence):
        judge(project(**gate), measured(**change))


SMALL = st.floats(-0.1, 0.1, allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(
    champion=st.none() | SMALL,
    start=st.lists(SMALL, min_size=10, max_size=10),
    step=st.floats(0, 0.2),
    which=st.integers(0, 9),
)
def test_getting_better_in_one_thing_never_turns_a_passed_rule_into_a_broken_one(champion, start, step, which):
    def evaluation(better: list[float]) -> EvaluationReport:
        return measured(
            comparisons=comparisons(better[1], better[2], None if champion is None else champion + better[0]),
            metrics=metrics(auc=0.7 + better[3], brier=0.2 - better[4]),
            slices=(documents.slice_measure(better[5]),),
            fairness=(documents.fairness(column="region", demographic_parity_difference=max(0.0, 0.1 - better[6])),),
            value=documents.value(total=better[7]),
            old_rows=old_rows(0.65 - better[9]),
            cost=documents.cost(latency_ms_p50=1.0 - better[8], size_mib=2.0 - better[8]),
        )

    improved = [*start]
    improved[which] += step

    before, after = (judge(project(**EVERY_RULE), evaluation(values)) for values in (start, improved))

    # What is proven worse than the plain model has a rule of its own, which is gone when it is no longer proven.
    later = {ruling.rule: ruling.passed for ruling in after.rules}
    assert all(later.get(early.rule, True) for early in before.rules if early.passed)
    assert after.promote >= before.promote


def test_the_verdict_file_holds_each_rule_with_its_reason(tmp_path):
    verdict = judge(project(), measured())

    assert Verdict.read(verdict.write(tmp_path / "verdict")) == verdict
    assert (tmp_path / "verdict").is_file()
