"""Intervals cover the truth as often as they promise, comparisons are paired, and entities are drawn whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.measures import bootstrap
from components.shared.measures.metrics import scorecard


def mean_of(values: np.ndarray):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def drawn(values: np.ndarray, clusters: np.ndarray | None = None, seed: int = 0, resamples: int = 400):
    clusters = np.arange(len(values)) if clusters is None else clusters
    return bootstrap.distributions(mean_of(values), clusters, resamples=resamples, seed=seed)["mean"]


def test_a_95_percent_interval_covers_the_true_mean_about_95_times_of_100():
    rng = np.random.default_rng(1)
    intervals = [drawn(rng.normal(size=80), seed=trial, resamples=300).interval(0.95) for trial in range(300)]

    covered = np.mean([found.low <= 0 <= found.high for found in intervals])

    assert 0.90 <= covered <= 0.985


def test_the_standard_error_of_a_mean_is_its_textbook_one():
    values = np.random.default_rng(2).normal(size=400)

    assert drawn(values, resamples=3000).standard_error() == pytest.approx(values.std() / 20, rel=0.06)


def test_rows_that_an_entity_repeats_do_not_narrow_the_interval():
    values = np.random.default_rng(3).normal(size=100)
    once = drawn(values)

    repeated = drawn(np.repeat(values, 5), np.repeat(np.arange(100), 5))
    as_if_independent = drawn(np.repeat(values, 5))

    assert repeated.resampled == pytest.approx(once.resampled)
    assert as_if_independent.standard_error() < 0.6 * once.standard_error()


def test_the_order_of_rows_does_not_change_which_entities_are_drawn():
    values, order = np.arange(50.0), np.random.default_rng(4).permutation(50)

    assert drawn(values[order], np.arange(50)[order]).resampled == pytest.approx(drawn(values).resampled)


def test_two_models_are_compared_on_the_same_resamples():
    rng = np.random.default_rng(5)
    truth = rng.random(500) < 0.4
    good = np.clip(truth * 0.3 + rng.random(500) * 0.7, 0, 1)
    nearly = np.clip(good + rng.normal(size=500) * 0.01, 0, 1)
    cards = {name: scorecard("binary", truth, score, 0.5) for name, score in (("good", good), ("nearly", nearly))}

    def statistic(weights):
        return {name: card.primary(weights) for name, card in cards.items()}

    found = bootstrap.distributions(statistic, np.arange(500), resamples=400, seed=1)

    apart = (found["good"] - found["nearly"]).standard_error()
    assert apart < 0.2 * found["good"].standard_error()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 700))
def test_a_model_compared_with_itself_differs_by_nothing(seed, rows):
    found = drawn(np.random.default_rng(seed).normal(size=rows), seed=seed, resamples=60)

    apart = (found - found).interval(0.95)

    assert (apart.value, apart.low, apart.high) == (0, 0, 0)


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(6).normal(size=60)

    assert drawn(values, seed=1).interval(0.9) == drawn(values, seed=1).interval(0.9)
    assert drawn(values, seed=1).interval(0.9) != drawn(values, seed=2).interval(0.9)


def test_resamples_on_which_a_metric_is_undefined_are_left_out():
    distribution = bootstrap.Distribution(1.0, np.array([np.nan, 1.0, 3.0, np.nan]))

    assert distribution.interval(0.5) == bootstrap.Interval(1.0, 1.5, 2.5)
    assert np.isnan(bootstrap.Distribution(1.0, np.array([np.nan])).interval(0.9).low)


@pytest.mark.parametrize(("entities", "unit"), [(29, "row"), (30, "entity")])
def test_few_entities_are_no_sample_so_rows_are_drawn(entities, unit):
    names = np.array([f"e{i % entities}" for i in range(120)], dtype=object)

    codes, found = bootstrap.clusters_of(names)

    assert found == unit
    assert codes.max() + 1 == (120 if unit == "row" else entities)
