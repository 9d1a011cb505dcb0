"""A shadow takes over on labels with at most the stated probability if it is not better, and soon if it is."""

from math import exp, factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.release.outcomes import LabelCriterion, PairedOutcomes, judge
from components.shared.sequential.paired import PairedGain

BETTER = LabelCriterion(kind="better")
NOT_WORSE = LabelCriterion(kind="not worse", margin=0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 1))
def test_the_expectation_is_at_most_one_for_a_candidate_that_is_worse_by_the_margin_or_more(rows, lost, margin, part):
    """Over every possible outcome of a few rows, with its multinomial probability."""
    won = max(0.0, lost - margin) * part
    gain = PairedGain(margin)
    expectation = 0.0
    for wins in range(rows + 1):
        for losses in range(rows + 1 - wins):
            ties = rows - wins - losses
            ways = factorial(rows) // (factorial(wins) * factorial(losses) * factorial(ties))
            tied = 1 - won - max(lost, won + margin)
            if tied < 0:
                return
            chance = ways * won**wins * max(lost, won + margin) ** losses * tied**ties
            expectation += chance * exp(gain.log_value(wins, ties, losses))

    assert expectation <= 1 + 1e-9


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.floats(0, 0.5))
def test_a_win_speaks_for_the_candidate_and_a_loss_against_it(wins, ties, losses, margin):
    gain = PairedGain(margin)
    now = gain.log_value(wins, ties, losses)

    assert gain.log_value(wins + 1, ties, losses) > now > gain.log_value(wins, ties, losses + 1)


def test_bets_that_could_lose_everything_are_refused():
    for margin, shares in ((-1.0, (0.1,)), (-0.5, (0.7,)), (1.0, (0.1,)), (0.0, (1.0,)), (0.0, ()), (0.0, (0.0,))):
        with pytest.raises(ValueError, match="margin"):
            PairedGain(margin, shares)
    with pytest.raises(ValueError, match="no counts"):
        PairedGain().log_value(-1, 0, 0)


def first_verdict(seed: int, won: float, lost: float, criterion: LabelCriterion, rows: int) -> tuple[str, int]:
    """Look every 50 rows; return the verdict that comes first, and after how many rows."""
    drawn = np.random.default_rng(seed).choice(3, p=[1 - won - lost, won, lost], size=rows)
    for seen in range(50, rows + 1, 50):
        counts = np.bincount(drawn[:seen], minlength=3).tolist()
        outcomes = PairedOutcomes(due=seen, ties=counts[0], wins=counts[1], losses=counts[2])
        verdict = judge(criterion, outcomes)
        if verdict.outcome != "wait":
            return verdict.outcome, seen
    return "wait", rows


def test_an_equal_candidate_hardly_ever_takes_over_as_better_however_often_it_is_looked_at():
    ends = [first_verdict(seed, 0.05, 0.05, BETTER, 4000)[0] for seed in range(300)]

    assert ends.count("pass") <= 15 + 10 and ends.count("fail") <= 15 + 10


def test_a_candidate_that_is_worse_by_the_margin_hardly_ever_passes_as_not_worse():
    ends = [first_verdict(seed, 0.04, 0.06, NOT_WORSE, 4000)[0] for seed in range(300)]

    assert ends.count("pass") <= 15 + 10


def test_a_better_candidate_takes_over_and_a_worse_one_is_taken_back_within_some_thousand_rows():
    better = [first_verdict(seed, 0.07, 0.03, BETTER, 5000) for seed in range(50)]
    worse = [first_verdict(seed, 0.03, 0.07, BETTER, 5000) for seed in range(50)]
    equal = [first_verdict(seed, 0.05, 0.05, NOT_WORSE, 12_000) for seed in range(50)]

    assert {end for end, _ in better} == {"pass"} and np.median([rows for _, rows in better]) < 1500
    assert {end for end, _ in worse} == {"fail"}
    assert [end for end, _ in equal].count("pass") >= 45


def test_a_candidate_within_the_margin_is_hardly_ever_taken_back():
    ends = [first_verdict(seed, 0.045, 0.055, NOT_WORSE, 4000)[0] for seed in range(200)]

    assert ends.count("fail") <= 10 + 6


def test_a_candidate_far_beyond_the_margin_is_taken_back():
    ends = [first_verdict(seed, 0.02, 0.1, NOT_WORSE, 6000)[0] for seed in range(40)]

    assert set(ends) == {"fail"}


def test_a_verdict_gives_its_numbers():
    assert judge(BETTER, PairedOutcomes(due=300, wins=60, ties=120, losses=20)) == (
        "pass",
        "it is better: of 200 labeled rows, 60 were right for the candidate alone and 20 for the champion alone",
    )
    assert judge(BETTER, PairedOutcomes(due=300, wins=20, ties=120, losses=60)).reason.startswith(
        "it is right less often than the champion: of 200 labeled rows"
    )
    assert judge(BETTER, PairedOutcomes(due=7)).reason == (
        "the labels do not show yet that it is better: of 0 labeled rows, 0 were right for the candidate alone and 0 "
        "for the champion alone, 7 rows are due"
    )
