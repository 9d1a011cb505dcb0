"""The day on which a rate began to be higher is found to within a few days."""

import doctest

import numpy as np
import pytest

from components.shared.sequential import change_point


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(change_point).failed == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_change_is_placed_near_the_day_on_which_it_began(seed):
    rng = np.random.default_rng(seed)
    rates = np.r_[np.full(60, 0.17), np.full(25, 0.3)]
    trials = rng.integers(30, 60, len(rates))

    found = change_point.began(rng.binomial(trials, rates).tolist(), trials.tolist(), 0.17)

    assert abs(found - 60) <= 5


def test_days_without_trials_and_a_rate_of_nothing_are_no_obstacle():
    assert change_point.began([0, 0, 0, 5, 6], [10, 0, 10, 10, 10], 0.0) == 3


def test_without_a_rise_it_is_the_last_day():
    assert change_point.began([2, 2, 1], [10, 10, 10], 0.3) == 2


def test_without_a_day_there_is_nothing_to_find():
    with pytest.raises(ValueError, match="no period"):
        change_point.began([], [], 0.2)
