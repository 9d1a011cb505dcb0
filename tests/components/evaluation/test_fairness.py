"""The gaps between groups are fairlearn's, small groups are not judged, and a rate without rows is no zero."""

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.documents.measurements import GroupMeasure
from components.shared.measures import fairness
from components.shared.measures.metrics import scorecard


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_gaps_equal_those_of_fairlearn(seed):
    rng = np.random.default_rng(seed)
    groups, truth, score = rng.choice(list("abc"), 300), rng.random(300) < 0.4, rng.random(300)

    compared = fairness.compare("g", groups, scorecard("binary", truth, score, 0.6), ["no", "yes"], 1)

    args = {"y_true": truth, "y_pred": score >= 0.6, "sensitive_features": groups}
    assert compared.demographic_parity_difference == pytest.approx(demographic_parity_difference(**args))
    assert compared.equalized_odds_difference == pytest.approx(equalized_odds_difference(**args))
    assert sum(group.rows for group in compared.groups.values()) == 300


def test_a_group_below_the_minimum_support_is_counted_but_not_judged():
    groups = np.array(["a"] * 60 + ["b"] * 60 + ["c"] * 3)
    score = np.where(groups == "c", 1.0, 0.0)

    compared = fairness.compare("g", groups, scorecard("binary", np.arange(123) % 2, score, 0.5), ["no", "yes"], 50)

    assert compared.small_groups == {"c": 3}
    assert compared.demographic_parity_difference == 0


def test_a_group_without_positives_has_no_true_positive_rate():
    groups = np.array(["a"] * 4 + ["b"] * 4)
    truth, score = np.array([1, 1, 0, 0, 0, 0, 0, 0]), np.array([1.0, 1, 0, 0, 1, 0, 0, 0])

    compared = fairness.compare("g", groups, scorecard("binary", truth, score, 0.5), ["no", "yes"], 1)

    assert compared.groups["b"].true_positive_rate is None
    assert compared.groups["b"].false_positive_rate == 0.25
    assert compared.equalized_odds_difference == 0.25


def test_one_group_alone_cannot_be_compared():
    card = scorecard("binary", np.arange(60) % 2, np.ones(60), 0.5)

    compared = fairness.compare("g", np.array(["a"] * 58 + ["b"] * 2), card, ["no", "yes"], 50)

    assert compared.demographic_parity_difference is None
    assert compared.equalized_odds_difference is None


def test_of_several_classes_the_one_with_the_largest_gap_counts():
    groups = np.array(["a", "b"] * 30)
    answer = np.where(groups == "a", 2, np.arange(60) // 2 % 2)
    card = scorecard("multiclass", np.arange(60) % 3, np.eye(3)[answer], None)

    compared = fairness.compare("g", groups, card, ["x", "y", "z"], 10)

    assert compared.positive == "z"
    assert compared.demographic_parity_difference == 1


def test_a_regression_compares_errors():
    groups = np.array(["a", "b"] * 30)
    truth = np.arange(60.0)
    card = scorecard("regression", truth, truth + np.where(groups == "b", 2.0, 0.0), None)

    compared = fairness.compare("g", groups, card, [], 10)

    assert compared.groups["b"] == GroupMeasure(rows=30, mean_error=2, mae=2, rmse=2)
    assert compared.demographic_parity_difference is None


def test_the_gaps_of_several_classes_are_fairlearns_largest():
    rng = np.random.default_rng(4)
    groups, truth, probability = rng.choice(list("ab"), 200), rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    compared = fairness.compare("g", groups, scorecard("multiclass", truth, probability, None), ["x", "y", "z"], 1)

    answer = probability.argmax(axis=1)
    parity, odds = (
        [gap(truth == i, answer == i, sensitive_features=groups) for i in range(3)]
        for gap in (demographic_parity_difference, equalized_odds_difference)
    )
    assert compared.demographic_parity_difference == pytest.approx(max(parity))
    assert compared.equalized_odds_difference == pytest.approx(max(odds))
    assert compared.positive == "xyz"[int(np.argmax(parity))]


def test_where_every_group_is_small_nothing_is_compared():
    card = scorecard("binary", np.array([0, 1]), np.array([0.1, 0.9]), 0.5)
    compared = fairness.compare("g", np.array(["a", "b"]), card, ["no", "yes"], 2)
    assert (compared.groups, compared.small_groups) == ({}, {"a": 1, "b": 1})
    assert compared.demographic_parity_difference is compared.equalized_odds_difference is None
