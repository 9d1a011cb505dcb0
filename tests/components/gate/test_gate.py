"""The gate promotes a candidate only when every rule of the project holds, and gives each rule's numbers."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gate.logic import Verdict, judge
from components.shared.errors import InputError
from components.shared.project import Project

EVERY_RULE: dict[str, Any] = {
    "plain_margin": 0.01,
    "champion_margin": 0.005,
    "floors": {"auc": 0.7, "recall": 0.5},
    "ceilings": {"brier": 0.2, "ece": 0.05},
    "slice_gap": 0.05,
    "fairness_gap": 0.1,
    "value_positive": True,
    "latency_ms": 1.0,
    "size_mib": 2.0,
    "min_test_rows": 50,
}


def project(**gate: Any) -> Project:
    return Project.model_validate(
        {
            "name": "made",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "label"},
            "features": {"service": "made", "columns": {"x": {"type": "numeric"}}},
            "gate": gate,
        }
    )


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def difference(value: float, half: float = 0.005) -> dict[str, Any]:
    return {"metric": "auc", "difference": value, "low": value - half, "high": value + half}


def measured(champion: float | None = None) -> dict[str, Any]:
    """An evaluation that passes every rule."""
    return {
        "rows": {"test": 800, "excluded_seen": 3},
        "primary": "auc",
        "higher_is_better": True,
        "confidence": 0.95,
        "metrics": {"auc": interval(0.8), "recall": interval(0.6), "brier": interval(0.15)},
        "directions": {"auc": True, "recall": True, "brier": False},
        "comparisons": {
            "rule": difference(0.1),
            "plain": difference(0.01),
            "champion": None if champion is None else difference(champion),
        },
        "champion": {"version": None, "compared": champion is not None, "reason": None},
        "calibration": {"ece": 0.03, "brier": 0.15, "bins": []},
        "slices": [a_slice(-0.04), a_slice(0.02)],
        "worst": a_slice(-0.3) | {"beyond_chance": True},
        "fairness": [{"column": "region", "demographic_parity_difference": 0.05, "equalized_odds_difference": 0.3}],
        "value": {"currency": "USD", "total": 120.0},
        "cost": {"latency_ms_p50": 0.05, "latency_ms_p99": 9.0, "size_mib": 0.1, "memory_mib": 60.0},
    }


def a_slice(loss: float, half: float = 0.01) -> dict[str, Any]:
    return {
        "where": {"plan": "basic"},
        "rows": 90,
        "difference": loss,
        "difference_low": loss - half,
        "difference_high": loss + half,
    }


def ruling(verdict: Verdict, rule: str) -> Any:
    (found,) = [one for one in verdict.rules if one.rule == rule]
    return found


def test_a_candidate_that_holds_every_rule_is_promoted():
    verdict = judge(project(**EVERY_RULE), measured())

    assert verdict.promote
    assert [one.rule for one in verdict.rules] == [
        "test rows", "rule", "plain model", "floor auc", "floor recall", "ceiling brier", "ceiling ece", "slices",
        "fairness region", "value", "latency", "size",
    ]  # fmt: skip


def test_every_broken_rule_is_reported_not_only_the_first():
    evaluation = measured()
    evaluation["rows"]["test"] = 49
    evaluation["comparisons"] |= {"rule": difference(0.004), "plain": difference(-0.02)}
    evaluation["metrics"] |= {"auc": interval(0.69), "brier": interval(0.21)}
    evaluation["cost"]["size_mib"] = 2.5

    verdict = judge(project(**EVERY_RULE), evaluation)

    assert not verdict.promote
    assert [one.rule for one in verdict.rules if not one.passed] == [
        "test rows", "rule", "plain model", "floor auc", "ceiling brier", "size",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "rule", "sentence", "phase"),
    [
        ({"rows": {"test": 10, "excluded_seen": 3}}, "test rows", r"10 test rows, 50 needed; 3 were excluded", "data"),
        ({"comparisons": {"rule": difference(0.001), "plain": difference(0), "champion": None}}, "rule",
         r"auc differs by \+0.0010 \(95 % interval -0.0040 to \+0.0060\) from the rule of thumb", "features"),
        ({"comparisons": {"rule": difference(0.1), "plain": difference(-0.01), "champion": None}}, "plain model",
         r"interval -0.0150 to -0.0050\) from the plain model; the worse end may lose at most 0.01", "tuning"),
        ({"comparisons": {"rule": None, "plain": None, "champion": difference(-0.01)}}, "champion",
         r"interval -0.0150 to -0.0050\) from the champion; the worse end may lose at most 0.005", "training"),
        ({"metrics": {"auc": interval(0.6912), "recall": interval(0.6), "brier": interval(0.1)}}, "floor auc",
         r"auc is 0.6912, at least 0.7 needed", "features"),
        ({"calibration": {"ece": 0.051}}, "ceiling ece", r"ece is 0.051, at most 0.05 needed", "features"),
        ({"slices": [a_slice(-0.0612)]}, "slices",
         r"plan = basic \(90 rows\) loses 0.0612 auc against all rows, .*at most 0.05 allowed", "data"),
        ({"fairness": [{"column": "region", "demographic_parity_difference": 0.3}]}, "fairness region",
         r"selection rates of 'region' differ by 0.3, at most 0.1 allowed", "features"),
        ({"value": {"currency": "EUR", "total": -36_400.0}}, "value", r"worth -36,400.00 EUR", "training"),
        ({"cost": {"latency_ms_p50": 1.5, "size_mib": 1}}, "latency", r"one row takes 1.5 ms .*at most 1 ms", "tuning"),
        ({"cost": {"latency_ms_p50": 0.5, "size_mib": 3}}, "size", r"has 3 MiB, at most 2 MiB", "tuning"),
    ],
)  # fmt: skip
def test_a_broken_rule_says_its_numbers_and_where_to_go_back_to(change, rule, sentence, phase):
    verdict = judge(project(**EVERY_RULE), measured() | change)

    assert not verdict.promote
    assert not ruling(verdict, rule).passed
    assert ruling(verdict, rule).phase == phase
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(ruling(verdict, rule).reason)


def test_after_the_first_release_only_the_champion_is_compared_with():
    evaluation = measured(champion=0.0)
    evaluation["comparisons"] |= {"rule": difference(-0.5), "plain": difference(-0.5)}

    verdict = judge(project(), evaluation)

    assert verdict.promote
    assert not verdict.first_release
    assert [one.rule for one in verdict.rules] == ["test rows", "champion"]


def test_a_champion_that_cannot_be_compared_makes_it_a_first_release_that_says_so():
    evaluation = measured()
    evaluation["champion"] = {
        "version": "4",
        "compared": False,
        "reason": "champion version 4 cannot be compared: gone",
    }

    verdict = judge(project(), evaluation)

    assert verdict.first_release
    assert "cannot be compared: gone; judged as a first release" in ruling(verdict, "champion").reason
    assert {"rule", "plain model"} <= {one.rule for one in verdict.rules}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("plain model", {"comparisons": {"rule": difference(0.1), "champion": None,
                                         "plain": {"metric": "auc", "difference": 0, "low": -0.01, "high": 0.1}}}),
        ("floor auc", {"metrics": {"auc": interval(0.7), "recall": interval(0.6), "brier": interval(0.1)}}),
        ("ceiling ece", {"calibration": {"ece": 0.05}}),
        ("slices", {"slices": [a_slice(-0.05)]}),
        ("fairness region", {"fairness": [{"column": "region", "demographic_parity_difference": 0.1}]}),
        ("value", {"value": {"currency": "USD", "total": 0.0}}),
        ("latency", {"cost": {"latency_ms_p50": 1.0, "size_mib": 1}}),
        ("size", {"cost": {"latency_ms_p50": 0.1, "size_mib": 2.0}}),
        ("test rows", {"rows": {"test": 50}}),
    ],
)  # fmt: skip
def test_equality_with_a_bound_passes(rule, change):
    assert ruling(judge(project(**EVERY_RULE), measured() | change), rule).passed


def test_to_equal_the_rule_of_thumb_is_not_to_beat_it():
    evaluation = measured()
    evaluation["comparisons"]["rule"] = {"metric": "auc", "difference": 0.01, "low": 0.0, "high": 0.02}

    assert not judge(project(), evaluation).promote


@pytest.mark.parametrize(("advantage", "promoted"), [(-0.02, True), (0.02, False)])
def test_a_metric_of_which_lower_is_better_is_compared_the_other_way_round(advantage, promoted):
    evaluation = measured() | {"primary": "rmse", "higher_is_better": False}
    evaluation["comparisons"] = {name: difference(advantage) for name in ("rule", "plain")} | {"champion": None}

    assert judge(project(), evaluation).promote is promoted


@pytest.mark.parametrize(("shift", "passes"), [(0.2, False), (-0.2, True)])
def test_a_slice_with_more_error_loses_where_lower_is_better(shift, passes):
    evaluation = measured() | {"higher_is_better": False, "slices": [a_slice(shift)]}

    assert ruling(judge(project(slice_gap=0.05, beat_rule=False), evaluation), "slices").passed is passes


def test_a_slice_whose_loss_may_be_chance_breaks_nothing():
    evaluation = measured() | {"slices": [a_slice(-0.2, half=0.21)]}

    assert ruling(judge(project(slice_gap=0.05), evaluation), "slices").passed


def test_a_rule_set_to_null_is_off():
    verdict = judge(project(beat_rule=False, plain_margin=None), measured())

    assert [one.rule for one in verdict.rules] == ["test rows"]


def test_an_undefined_metric_or_interval_never_passes():
    evaluation = measured()
    evaluation["metrics"]["recall"] = {"value": None, "low": None, "high": None}
    evaluation["comparisons"]["rule"] = {"metric": "auc", "difference": 0.2, "low": None, "high": None}

    verdict = judge(project(floors={"recall": 0.0}), evaluation)

    assert "recall is undefined on the test rows" in ruling(verdict, "floor recall").reason
    assert not ruling(verdict, "rule").passed
    assert not ruling(verdict, "floor recall").passed


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
        judge(project(**gate), measured() | change)


SMALL = st.floats(-0.1, 0.1, allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(
    champion=st.none() | SMALL,
    start=st.lists(SMALL, min_size=9, max_size=9),
    step=st.floats(0, 0.2),
    which=st.integers(0, 8),
)
def test_getting_better_in_one_thing_never_turns_a_passed_rule_into_a_broken_one(champion, start, step, which):
    def evaluation(better: list[float]) -> dict[str, Any]:
        found = copy.deepcopy(measured(None if champion is None else champion + better[0]))
        found["comparisons"] |= {"rule": difference(better[1]), "plain": difference(better[2])}
        found["metrics"] |= {"auc": interval(0.7 + better[3]), "brier": interval(0.2 - better[4])}
        found["slices"] = [a_slice(better[5])]
        found["fairness"][0]["demographic_parity_difference"] = max(0.0, 0.1 - better[6])
        found["value"]["total"] = better[7]
        found["cost"] |= {"latency_ms_p50": 1.0 - better[8], "size_mib": 2.0 - better[8]}
        return found

    improved = [*start]
    improved[which] += step

    before, after = (judge(project(**EVERY_RULE), evaluation(values)) for values in (start, improved))

    assert all(late.passed for early, late in zip(before.rules, after.rules, strict=True) if early.passed)
    assert after.promote >= before.promote


def test_the_verdict_file_holds_each_rule_with_its_reason():
    verdict = judge(project(), measured()).as_dict()

    assert set(verdict) == {"promote", "first_release", "rules"}
    assert all(set(one) == {"rule", "passed", "reason", "phase"} for one in verdict["rules"])
