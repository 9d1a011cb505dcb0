"""An e-detector keeps the run length that it promises, and finds a rise soon enough."""

from math import comb, exp, lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.sequential import reference
from components.shared.sequential.budget import AlertBudget
from components.shared.sequential.e_detector import BetaBinomialRise, BoundedMeanRise, EDetector

rates = st.floats(0.01, 0.9)


def probabilities(trials: int, rate: float, concentration: float) -> list[float]:
    """Probability of each count under the beta-binomial distribution, written as its textbook formula."""

    def log_beta(a: float, b: float) -> float:
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    a, b = rate * concentration, (1 - rate) * concentration
    return [comb(trials, k) * exp(log_beta(k + a, trials - k + b) - log_beta(a, b)) for k in range(trials + 1)]


def days(rng: np.random.Generator, number: int, trials: int, rate: float, spread: float) -> list[int]:
    concentration = rate * (1 - rate) / spread**2 - 1
    daily = rng.beta(rate * concentration, (1 - rate) * concentration, number)
    return [int(count) for count in rng.binomial(trials, daily)]


# The law: an e-value's expectation is at most 1 while there is no rise.


@given(rates, st.floats(0.02, 0.4), st.floats(0.05, 0.9), st.floats(0.2, 1), st.sampled_from([1, 7, 60]))
def test_the_expectation_is_at_most_one_for_every_tolerated_rate(tolerated, relative_spread, step, share, trials):
    variance = tolerated * (1 - tolerated)
    spread = relative_spread * variance**0.5
    rise = BetaBinomialRise(tolerated, spread, (tolerated + step * (1 - tolerated) * 0.99,))
    chances = probabilities(trials, tolerated * share, variance / spread**2 - 1)
    values = [exp(rise.log_values(k, trials)[0]) for k in range(trials + 1)]

    assert sum(chances) == pytest.approx(1)
    expectation = sum(chance * value for chance, value in zip(chances, values, strict=True))
    assert expectation <= 1 + 1e-9
    if share == 1:
        assert expectation == pytest.approx(1)


@given(rates, st.floats(0, 1), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4))
def test_a_bet_is_fair_at_the_tolerated_mean_whatever_the_distribution(tolerated, low, bets):
    low *= tolerated
    high = 1.0
    chance = (tolerated - low) / (high - low)
    rise = BoundedMeanRise(tolerated, tuple(bets))
    expected = (1 - chance) * np.exp(rise.log_values(low, 1)) + chance * np.exp(rise.log_values(high, 1))
    assert expected == pytest.approx(np.ones(len(bets)))


@given(rates, st.floats(0.01, 0.4), st.integers(1, 300))
def test_more_events_are_more_evidence(tolerated, relative_spread, trials):
    spread = relative_spread * (tolerated * (1 - tolerated)) ** 0.5
    rise = BetaBinomialRise(tolerated, spread, ((1 + tolerated) / 2,))
    values = [rise.log_values(k, trials)[0] for k in range(trials + 1)]
    assert (np.diff(values) > 0).all()


# The detector.


def test_the_evidence_is_that_of_the_papers_recursion():
    detector = EDetector(BoundedMeanRise(0.5, (0.5,)), run_length=100)
    assert detector.fraction == 0
    detector.observe(8, 10)
    # A bet of one half on a mean of 0.8 against 0.5 is worth 1.3; then 1.3 * (1.3 + 1).
    assert detector.log_value == pytest.approx(log(1.3))
    detector.observe(8, 10)
    assert detector.log_value == pytest.approx(log(1.3 * 2.3)) and detector.fraction == pytest.approx(0.0299)


def test_an_alarm_comes_at_the_run_length_and_clears_the_evidence():
    detector = EDetector(BoundedMeanRise(0.5, (0.5,)), run_length=1.3 * 2.3)
    assert [detector.observe(8, 10) for _ in range(3)] == [False, True, False]
    assert detector.log_value == pytest.approx(log(1.3))


def test_a_detector_goes_on_where_another_ended_and_a_day_without_labels_only_ages_it():
    rise = BetaBinomialRise(0.2, 0.02, (0.25, 0.3))
    whole, first = EDetector(rise, 1000), EDetector(rise, 1000)
    for detector in (whole, first):
        detector.observe(22, 100)
    second = EDetector(rise, 1000, state=first.log_evidence)
    whole.observe(27, 100)
    second.observe(27, 100)
    assert whole.log_value == second.log_value
    value = np.exp(whole.log_value)
    whole.observe(0, 0)
    assert np.exp(whole.log_value) == pytest.approx(value + 1)


def test_the_average_run_length_without_a_change_is_at_least_the_promised_one():
    rng = np.random.default_rng(3)
    rise = BetaBinomialRise(0.2, 0.02, (0.22, 0.24, 0.28))
    lengths = []
    for _ in range(150):
        detector = EDetector(rise, run_length=20)
        lengths.append(next(i for i in range(1, 10_000) if detector.observe(days(rng, 1, 300, 0.2, 0.02)[0], 300)))
    # The standard error of the mean is a twelfth of it; the promise is 20.
    assert np.mean(lengths) > 20


def test_a_spread_between_days_that_is_ignored_breaks_the_promise():
    rng = np.random.default_rng(3)
    counts = days(rng, 360, 1000, 0.2, 0.02)

    def alarms(spread: float) -> int:
        detector = EDetector(BetaBinomialRise(0.2, spread, (0.22, 0.24, 0.28)), run_length=360)
        return sum(detector.observe(count, 1000) for count in counts)

    assert alarms(0.0) > 10 and alarms(0.02) <= 2


@pytest.mark.parametrize(("trials", "slowest"), [(200, 15), (1000, 8)])
def test_a_rise_from_20_to_25_percent_is_found_within_days(trials, slowest):
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known = reference.estimate(days(rng, 90, trials, 0.2, 0.02), [trials] * 90)
        detector = EDetector(known.rise(), run_length=730)
        delays.append(next(i for i in range(1, 400) if detector.observe(days(rng, 1, trials, 0.25, 0.02)[0], trials)))
    assert np.median(delays) < slowest


# The reference.


def test_the_reference_estimates_rate_and_spread_and_bounds_both():
    inside, rates_, spreads = 0, [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        trials = [int(n) for n in rng.integers(200, 2000, 60)]
        counts = [days(rng, 1, n, 0.2, 0.02)[0] for n in trials]
        known = reference.estimate([*counts, 0], [*trials, 0], confidence=0.9)
        assert known.days == 60
        inside += (known.rate_bound >= 0.2) + (known.spread_bound >= 0.02)
        rates_.append(known.rate)
        spreads.append(known.spread)
    assert np.mean(rates_) == pytest.approx(0.2, abs=0.002) and np.mean(spreads) == pytest.approx(0.02, abs=0.002)
    # 80 bounds that each hold with probability 0.9.
    assert 64 <= inside < 80


def test_a_reference_without_any_event_still_tolerates_a_few():
    known = reference.estimate([0] * 20, [50] * 20)
    assert 0 < known.rate < known.rate_bound < 0.01
    assert not EDetector(known.rise(), 365).observe(1, 50)


def test_too_few_days_are_refused():
    with pytest.raises(ValueError, match="a reference of 9 days with observations; at least 10 are needed"):
        reference.estimate([1] * 9 + [0], [10] * 9 + [0])


# The budget.


@given(st.dictionaries(st.text(min_size=1), st.floats(0.01, 10), min_size=1), st.floats(0.1, 10))
def test_all_tests_together_stay_within_the_budget(weights, false_alarms):
    lengths = AlertBudget(false_alarms, 365).run_lengths(weights)
    assert sum(1 / length for length in lengths.values()) * 365 == pytest.approx(false_alarms)
    assert lengths.keys() == weights.keys()


def test_a_weight_of_zero_turns_a_test_off_and_a_negative_one_is_refused():
    assert AlertBudget(2, 100).run_lengths({"a": 1, "b": 0}) == {"a": 50}
    with pytest.raises(ValueError, match="must be 0 or more"):
        AlertBudget().run_lengths({"a": -1, "b": 2})
    with pytest.raises(ValueError, match="is no budget below one a day"):
        AlertBudget(2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BetaBinomialRise(0.2, 0.1, (0.2,)), r"each of \(0.2,\) must be between 0.2 and 1"),
        (lambda: BetaBinomialRise(0.0, 0.1, (0.2,)), "tolerated 0.0 must be between 0 and 1"),
        (lambda: BoundedMeanRise(1.0), "tolerated 1.0 must be between 0 and 1"),
        (lambda: BoundedMeanRise(0.5, ()), r"each of \(\) must be between 0 and 1"),
        (lambda: EDetector(BoundedMeanRise(0.5, (0.5,)), 1), "run_length 1 must be above 1"),
        (lambda: EDetector(BoundedMeanRise(0.5, (0.5,)), 9, [0.9]), "1 weights above 0 that add up to 1 are needed"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
