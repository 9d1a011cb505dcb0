"""Policies are followed block by block, nothing beats hindsight, and the interval covers what it claims."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.cadence import policies
from components.cadence.policies import every, follow, hindsight, never, on_alarm


def losses_of(blocks: int, seed: int) -> np.ndarray:
    losses = np.random.default_rng(seed).random((blocks, blocks)) * 10
    losses[np.tril_indices(blocks, -1)] = np.nan
    return losses


def test_a_schedule_trains_a_model_of_its_age_and_never_earlier():
    assert follow(losses_of(10, 1), every(3)).trained == (3, 6, 9)
    assert follow(losses_of(10, 1), never).trained == ()


def test_an_alarm_trains_at_its_block_and_the_next_model_has_an_alarm_of_its_own():
    alarms = np.array([2, 9, 4, -1, -1, -1])

    assert follow(losses_of(6, 2), on_alarm(alarms)).trained == (2, 4)


def test_a_training_is_paid_for_in_its_block():
    played = follow(np.array([[1.0, 1.0], [np.nan, 1.0]]), every(1))

    assert played.cost(5.0).tolist() == [1.0, 6.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(0, 1000), st.floats(0, 12))
def test_hindsight_costs_what_the_best_of_all_sets_of_trainings_costs(blocks, seed, training_cost):
    losses = losses_of(blocks, seed)
    sets = (set(chosen) for size in range(blocks) for chosen in itertools.combinations(range(1, blocks), size))

    def cost(chosen: set[int]) -> float:
        return float(follow(losses, lambda _, block: block in chosen).cost(training_cost).sum())

    assert hindsight(losses, training_cost).cost(training_cost).sum() == pytest.approx(min(map(cost, sets)))


def test_a_saving_that_is_constant_has_no_interval_and_one_that_varies_has():
    constant = policies.saved(np.full(20, 3.0), np.full(20, 5.0), seed=1)
    varying = policies.saved(np.arange(20.0), np.full(20, 9.5), seed=1)

    assert constant == (2.0, 2.0, 2.0)
    assert varying[0] == pytest.approx(0.0)
    assert varying[1] < -1 and varying[2] > 1


def test_a_model_that_does_not_age_loses_nothing_and_one_that_does_loses_more_each_block():
    same, rows = np.triu(np.ones((4, 4))), np.full(4, 1000)
    older = np.array([[max(0, block - model) for block in range(4)] for model in range(4)], float)

    assert policies.decay(same, rows) == [0, 0, 0, 0]
    assert policies.decay(older, rows) == pytest.approx([0, 1, 2, 3])
