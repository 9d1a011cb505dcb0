"""An A/B test keeps its error rates with any number of looks, and its bounds are the published ones."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.release.looks import looked
from components.shared.release.trial import Arm, Arms, Trial, TrialPlan, judge
from components.shared.sequential.group_sequential import bounds, information, spent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = TrialPlan(smallest_effect=0.05)
LARGE = 10_000


def test_the_bounds_are_those_of_the_published_tables():
    """O'Brien-Fleming spending, two sides of 2.5 %: Jennison and Turnbull (2000), and R's package gsDesign."""
    assert bounds(0.05, [0.2, 0.4, 0.6, 0.8, 1.0]) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=1e-3)
    assert bounds(0.05, [0.5, 1.0]) == pytest.approx([2.963, 1.969], abs=1e-3)
    assert bounds(0.05, [1.0]) == pytest.approx([1.96], abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.02, 0.3), min_size=1, max_size=8), st.floats(0.01, 0.2))
def test_bounds_that_are_known_are_not_changed_by_later_looks(steps, error):
    fractions = np.cumsum(steps).tolist()
    whole = bounds(error, fractions)

    assert bounds(error, fractions, whole[:-1]) == pytest.approx(whole, abs=1e-6)
    assert bounds(error, fractions[:-1]) == pytest.approx(whole[:-1], abs=1e-6)


@given(st.floats(0, 1.5), st.floats(0, 1.5), st.floats(0.001, 0.5))
def test_the_error_is_spent_from_nothing_to_all_and_never_returned(one, other, error):
    low, high = sorted((one, other))

    assert 0 <= spent(error, low) <= spent(error, high) <= error + 1e-12
    assert spent(error, 1) == pytest.approx(error)


def test_fractions_that_do_not_grow_are_refused():
    for fractions in ([0.5, 0.5], [0.5, 0.4], [0.0], [-1.0]):
        with pytest.raises(ValueError, match="do not grow"):
            bounds(0.05, fractions)


def stopped(drift: float, fractions: list[float]) -> float:
    """Return how many of many Brownian motions with a drift are ever beyond the bounds."""
    random = np.random.default_rng(1)
    steps = np.diff([0.0, *fractions])
    motion = np.cumsum(random.normal(size=(LARGE, len(steps))) * np.sqrt(steps) + drift * steps, axis=1)
    limits = np.array(bounds(0.05, fractions)) * np.sqrt(fractions)
    return float((np.abs(motion) >= limits).any(axis=1).mean())


@pytest.mark.parametrize("fractions", [[0.1, 0.15, 0.6, 1.0], np.linspace(0.05, 1, 20).tolist()])
def test_with_uneven_and_with_many_looks_the_error_and_the_power_are_as_planned(fractions):
    drift = float(np.sqrt(information(1.0, 0.05, 0.8)))

    # Three standard errors of the simulation.
    assert stopped(0.0, fractions) == pytest.approx(0.05, abs=0.0066)
    assert stopped(drift, fractions) > 0.8 - 0.012


def ab_test(seed: int, effect: float, days: int = 60, per_day: int = 120) -> tuple[str, int]:
    """Run an A/B test of a rate of 30 % with one look a day; return its end and the entities that it needed."""
    random = np.random.default_rng(seed)
    trial = Trial()
    groups: tuple[list[bool], list[bool]] = ([], [])
    for day in range(days):
        for group, rate in zip(groups, (0.3, 0.3 + effect), strict=True):
            group.extend((random.random(per_day) < rate).tolist())
        arms = [Arm(entities=len(g), mean=float(np.mean(g)), variance=float(np.var(g, ddof=1))) for g in groups]
        trial = looked(PLAN, trial, Arms(champion=arms[0], candidate=arms[1]), NOW + timedelta(days=day))
        verdict = judge(PLAN, trial)
        if verdict.outcome != "wait":
            return verdict.outcome, len(groups[0]) * 2
    return "wait", len(groups[0]) * 2


def test_equal_versions_are_hardly_ever_told_apart_and_the_test_ends():
    ends = [ab_test(seed, 0.0)[0] for seed in range(120)]

    assert ends.count("wait") == 0
    assert ends.count("pass") + ends.count("fail") <= 6 + 8


def test_an_effect_of_the_wanted_size_is_found_with_the_wanted_power_and_often_before_the_end():
    ends = [ab_test(seed, 0.05) for seed in range(120)]

    assert [end for end, _ in ends].count("pass") >= 96 - 13
    assert {end for end, _ in ends} <= {"pass", "inconclusive"}
    planned = 4 * 0.3 * 0.7 * information(0.05, 0.05, 0.8)
    assert np.median([entities for _, entities in ends]) < planned


def arms(entities: int = 300, difference: float = 0.0, variance: float = 0.2) -> Arms:
    one, other = (Arm(entities=entities, mean=mean, variance=variance) for mean in (0.5, 0.5 + difference))
    return Arms(champion=one, candidate=other)


def test_a_look_is_taken_once_a_day_and_only_if_something_became_known():
    first = looked(PLAN, Trial(), arms(), NOW)
    assert len(first.looks) == 1
    assert len(looked(PLAN, first, arms(600), NOW + timedelta(hours=23)).looks) == 1
    assert len(looked(PLAN, first, arms(), NOW + timedelta(days=2)).looks) == 1
    assert len(looked(PLAN, first, arms(600), NOW + timedelta(days=2)).looks) == 2


def test_after_the_planned_information_nothing_is_looked_at_any_more():
    over = looked(PLAN, Trial(), arms(100_000), NOW)

    assert over.looks[0].fraction > 1 and judge(PLAN, over).outcome == "inconclusive"
    assert len(looked(PLAN, over, arms(900_000, 0.1), NOW + timedelta(days=9)).looks) == 1


def test_few_entities_or_outcomes_without_any_difference_give_no_look():
    assert looked(PLAN, Trial(), arms(199), NOW).looks == ()
    assert looked(PLAN, Trial(), arms(variance=0.0), NOW).looks == ()
    lopsided = Arms(champion=Arm(entities=500), candidate=Arm(entities=500, mean=0.1, variance=0.2))
    assert looked(PLAN, Trial(), lopsided, NOW).looks == (), "a group without any variance is not known perfectly"
    assert judge(PLAN, Trial()).outcome == "wait"


def test_a_verdict_stays_whatever_later_outcomes_say():
    decided = looked(PLAN, Trial(), arms(2000, 0.2), NOW)
    assert judge(PLAN, decided).outcome == "pass"
    later = looked(PLAN, decided, arms(2100, 0.0), NOW + timedelta(days=2))

    assert judge(PLAN, later).outcome == "pass"
    assert judge(PLAN, looked(PLAN, Trial(), arms(2000, -0.2), NOW)).outcome == "fail"
