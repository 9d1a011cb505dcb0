"""The tests of drift agree with published figures and with scipy, and alarm no more often than they promise."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from components.shared.drift import column, tails
from components.shared.drift.association import compare_associations
from components.shared.drift.relation import compare_relation, groups_of, quantile_edges
from components.shared.drift.univariate import (
    chi_squared,
    compare_categories,
    compare_numbers,
    jensen_shannon,
    wasserstein_by_chance,
)


def normal(rows: int, seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


def test_the_published_chi_squared_example_is_reproduced() -> None:
    statistic = chi_squared(np.array([73.0, 21, 26, 8]), np.array([72.0, 24, 24, 8]))

    assert statistic == pytest.approx(0.5556, abs=5e-5)
    assert tails.chi_squared_tail(statistic, 3) == pytest.approx(0.9065, abs=5e-5)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30, 51])
def test_the_tails_are_those_of_scipy(degrees: int) -> None:
    for value in (0.01, 0.5, 3.0, 40.0, 300.0):
        assert tails.chi_squared_tail(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-9)
    for probability in (0.5, 0.05, 1e-6):
        assert tails.chi_squared_critical(probability, degrees) == pytest.approx(stats.chi2.isf(probability, degrees))
        assert tails.kolmogorov_critical(probability) == pytest.approx(stats.kstwobign.isf(probability), rel=1e-6)


def test_the_distances_are_those_of_scipy() -> None:
    before, after = normal(3000, seed=1), normal(500, seed=2, mean=0.4)
    numbers = compare_numbers(before, after)

    assert numbers.statistic == "normed Wasserstein"
    assert numbers.value == pytest.approx(stats.wasserstein_distance(before, after) / before.std())
    small = compare_numbers(before[:900], after)
    assert small.statistic == "Kolmogorov-Smirnov"
    assert small.value == pytest.approx(stats.ks_2samp(before[:900], after).statistic)
    shares = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.3, 0.3])
    assert jensen_shannon(*shares) == pytest.approx(distance.jensenshannon(*shares, base=2))
    categories = compare_categories(["a"] * 40 + ["b"] * 60, ["a"] * 70 + ["b"] * 50)
    expected = stats.chi2_contingency([[40, 60], [70, 50]], correction=False)
    assert categories.statistic == "chi-squared"
    assert (categories.value, categories.p_value) == pytest.approx((expected[0], expected[1]))


def test_the_jensen_shannon_distance_is_0_for_equal_and_1_for_disjoint_distributions() -> None:
    assert jensen_shannon(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


@pytest.mark.parametrize(("rows", "statistic"), [(1000, "Kolmogorov-Smirnov"), (1001, "normed Wasserstein")])
def test_the_test_changes_above_a_thousand_rows_of_the_reference(rows: int, statistic: str) -> None:
    assert compare_numbers(normal(rows, 1), normal(5000, 2)).statistic == statistic
    categorical = compare_categories(["a", "b"] * (rows // 2) + ["a"] * (rows % 2), ["a", "b"] * 9000)
    assert (categorical.statistic == "chi-squared") is (statistic == "Kolmogorov-Smirnov")


@pytest.mark.parametrize("rows", [20_000, 100_000])
def test_a_harmless_shift_is_significant_in_large_samples_and_never_drift(rows: int) -> None:
    for seed in range(5):
        before, after = normal(rows, 2 * seed), normal(rows, 2 * seed + 1, mean=0.05)

        assert stats.ks_2samp(before, after).pvalue < 0.05
        assert not compare_numbers(before, after).is_drift


def test_without_a_correction_most_runs_over_twenty_columns_alarm_and_with_it_few() -> None:
    random = np.random.default_rng(3)
    alarms = {1: 0, 20: 0}
    for _ in range(200):
        for tests in alarms:
            columns = (compare_numbers(before, after, tests) for before, after in random.normal(size=(20, 2, 300)))
            alarms[tests] += any(column.is_drift for column in columns)

    assert alarms[1] / 200 == pytest.approx(1 - 0.95**20, abs=0.12)  # 64 %
    assert alarms[20] / 200 <= 0.1


@pytest.mark.parametrize("draw", ["normal", "exponential", "lognormal"])
def test_the_threshold_of_a_large_reference_covers_what_a_small_sample_shows_by_chance(draw: str) -> None:
    random = np.random.default_rng(5)
    reference = np.sort(getattr(random, draw)(size=3000))
    threshold = wasserstein_by_chance(reference, 40, 0.05)
    values = [compare_numbers(reference, getattr(random, draw)(size=40)).value for _ in range(300)]

    assert np.mean(np.array(values) > 0.1) > 0.5  # The fixed threshold alone would alarm.
    assert np.mean(np.array(values) > threshold) <= 0.05


def test_a_distance_that_reaches_the_smallest_relevant_one_is_drift() -> None:
    before, after = normal(5000, 1), normal(5000, 2, mean=0.5)
    distance_of_shift = compare_numbers(before, after).value

    assert compare_numbers(before, after, distance_min=distance_of_shift).is_drift
    assert not compare_numbers(before, after, distance_min=distance_of_shift * 1.001).is_drift


@pytest.mark.parametrize(("values", "is_few"), [(5, True), (6, False)])
def test_a_column_of_five_numbers_is_categorical(values: int, is_few: bool) -> None:
    numbers = np.arange(60.0) % values
    numbers[::7] = np.nan

    assert column.has_few_values(numbers) is is_few
    assert column.as_categories(np.array([1.0, math.nan, 2.5])) == ["1", None, "2.5"]


def test_many_categories_in_a_small_sample_are_no_drift() -> None:
    random = np.random.default_rng(7)
    pairs = [(random.integers(0, 40, 4000).astype(str), random.integers(0, 40, 150).astype(str)) for _ in range(40)]
    results = [compare_categories(before.tolist(), after.tolist(), tests=40) for before, after in pairs]

    assert np.mean([result.value > 0.1 for result in results]) > 0.9
    assert not any(result.is_drift for result in results)


def test_a_new_category_is_drift_and_missing_values_are_not() -> None:
    before: list[str | None] = ["a", "b"] * 1000

    assert compare_categories(before, ["a", "b", "c"] * 200).is_drift
    assert not compare_categories(before, ["a", "b", None] * 200).is_drift


def test_a_changed_correlation_is_found_while_every_column_looks_the_same() -> None:
    random = np.random.default_rng(9)
    x, noise = random.normal(size=(2, 4000))
    before, after = np.stack([x, 0.6 * x + 0.8 * noise], axis=1), np.stack([x, -0.6 * x + 0.8 * noise], axis=1)
    after[::7, 0] = math.nan

    changed = next(iter(compare_associations(before[:3000], after[3000:])))
    assert changed.is_drift
    assert changed.reference == pytest.approx(stats.spearmanr(before[:3000]).statistic, abs=1e-9)
    assert not any(each.is_drift for each in compare_associations(before[:3000], before[3000:]))


def test_a_label_shift_is_no_changed_relation_and_a_reversed_effect_is() -> None:
    random = np.random.default_rng(11)
    x = random.normal(size=9000)
    labels = (random.random(9000) < 1 / (1 + np.exp(2 - x))).astype(float)
    edges = quantile_edges(x[:5000])
    groups = groups_of(x, edges)
    reference, current = (groups[:5000], labels[:5000]), (groups[5000:], labels[5000:])
    # Two thirds of the negatives are lost.
    observed = (current[1] == 1) | (random.random(4000) < 1 / 3)
    reversed_labels = (random.random(4000) < 1 / (1 + np.exp(2 + x[5000:]))).astype(float)

    shifted = compare_relation(reference, (current[0][observed], current[1][observed]))
    changed = compare_relation(reference, (current[0], reversed_labels))
    assert shifted is not None and not shifted.is_drift
    assert changed is not None and changed.is_drift
    assert changed.groups[0].current > changed.groups[0].reference
    assert changed.groups[-1].current < changed.groups[-1].reference


def test_a_changed_relation_of_a_regression_is_found() -> None:
    random = np.random.default_rng(13)
    x = random.normal(size=4000)
    y = 3 * x + random.normal(size=4000)
    groups = groups_of(x, quantile_edges(x))

    same = compare_relation((groups[:2000], y[:2000]), (groups[2000:], y[2000:] + 5))
    changed = compare_relation((groups[:2000], y[:2000]), (groups[2000:], -y[2000:]))
    assert same is not None and not same.is_drift
    assert changed is not None and changed.is_drift


def test_a_relation_is_not_judged_by_a_few_rows() -> None:
    few = np.zeros(15, np.int64), np.ones(15)

    assert compare_relation(few, few) is None
