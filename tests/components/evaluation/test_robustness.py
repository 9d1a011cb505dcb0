"""Perturbations do what their names say, within what the schema allows, and cost a model what it relies on."""

from typing import Any

import numpy as np
import pytest

from components.evaluation import robustness
from components.shared.inputs.rows import Inputs
from components.shared.measures.calibration import calibration
from components.shared.measures.metrics import scorecard
from tests import documents

NUMERIC, CATEGORICAL = ["x", "flag", "idle"], ["plan", "region"]
FEATURES = [
    {"name": "x", "type": "numeric", "missing": True},
    {"name": "flag", "type": "boolean", "missing": False},
    {"name": "idle", "type": "numeric", "missing": False},
    {"name": "plan", "type": "categorical", "missing": True},
    {"name": "region", "type": "categorical", "missing": False},
]


def inputs(rows: int = 2000) -> Inputs:
    rng = np.random.default_rng(0)
    numeric = np.stack([rng.normal(5, 2, rows), rng.integers(0, 2, rows), rng.normal(size=rows)], axis=1)
    numeric[:10, 0] = np.nan
    return Inputs(numeric.astype(np.float32), rng.choice(["a", "b"], (rows, 2)).astype(object))


def perturbed(given: Inputs, features: list[dict[str, Any]] = FEATURES) -> dict[tuple[str, float | str], Inputs]:
    std = robustness.standard_deviations(given.numeric)
    facts = documents.model_facts(features=features, numeric=NUMERIC, categorical=CATEGORICAL)
    return {(kind, level): rows for kind, level, rows in robustness.perturbations(given, std, facts, seed=3)}


def test_noise_is_in_units_of_each_numbers_spread_and_leaves_gaps_and_booleans_alone():
    given = inputs()

    noisy = perturbed(given)["noise", 0.5]

    added = noisy.numeric - given.numeric
    assert np.nanstd(added[:, 0]) == pytest.approx(0.5 * np.nanstd(given.numeric[:, 0]), rel=0.05)
    assert np.isnan(noisy.numeric[:10, 0]).all()
    assert (added[:, 1] == 0).all()
    assert (noisy.categorical == given.categorical).all()


def test_gaps_are_made_only_where_the_schema_allows_them():
    given = inputs()

    emptied = perturbed(given)["missing", 0.3]

    assert np.isnan(emptied.numeric[10:, 0]).mean() == pytest.approx(0.3, abs=0.03)
    assert (emptied.categorical[:, 0] == "").mean() == pytest.approx(0.3, abs=0.03)
    assert not np.isnan(emptied.numeric[:, 1:]).any()
    assert (emptied.categorical[:, 1] != "").all()


def test_a_schema_without_gaps_is_not_tested_with_any():
    strict = [feature | {"missing": False} for feature in FEATURES]

    assert not [kind for kind, _ in perturbed(inputs(), strict) if kind == "missing"]


def test_a_shuffled_column_keeps_its_values_and_the_other_columns():
    given = inputs()

    for name in (*NUMERIC, *CATEGORICAL):
        shuffled = perturbed(given)["shuffled column", name]
        for i, column in enumerate(NUMERIC):
            same = np.array_equal(shuffled.numeric[:, i], given.numeric[:, i], equal_nan=True)
            assert same is (column != name)
            assert np.array_equal(np.sort(shuffled.numeric[:, i]), np.sort(given.numeric[:, i]), equal_nan=True)
        for i, column in enumerate(CATEGORICAL):
            assert (shuffled.categorical[:, i] == given.categorical[:, i]).all() == (column != name)


def test_a_model_loses_under_what_it_relies_on_and_nothing_under_what_it_ignores():
    given = inputs()
    known = np.nan_to_num(given.numeric[:, 0], nan=5.0)
    truth = known + np.random.default_rng(1).normal(size=2000) > 5

    def answered(rows: Inputs):
        return scorecard("binary", truth, 1 / (1 + np.exp(5 - np.nan_to_num(rows.numeric[:, 0], nan=5.0))), 0.5)

    base = float(answered(given).primary(np.ones((1, 2000)))[0])
    copies = ((kind, level, rows) for (kind, level), rows in perturbed(given).items())
    losses = robustness.losses(copies, rows=2000, answered=answered, base=base, higher_is_better=True)
    drop = {(loss.perturbation, loss.level): loss.drop for loss in losses}

    assert drop["shuffled column", "x"] > 0.3
    assert drop["shuffled column", "idle"] == drop["shuffled column", "plan"] == drop["unseen category", 0.1] == 0
    assert 0 < drop["noise", 0.1] < drop["noise", 0.5]
    assert 0 < drop["missing", 0.1] < drop["missing", 0.3]


@pytest.mark.parametrize(("features", "rows"), [(10, 5000), (100, 2000), (5000, 500)])
def test_wide_tables_are_perturbed_on_fewer_rows(features, rows):
    assert len(robustness.sample(20_000, features, seed=0)) == rows


def test_scores_that_mean_what_they_say_have_a_small_calibration_error_and_doubled_ones_do_not():
    rng = np.random.default_rng(5)
    chance = rng.random(20_000) / 2
    hit = rng.random(20_000) < chance

    assert calibration(chance, hit, 0.0).ece < 0.015
    assert calibration(2 * chance, hit, 0.0).ece == pytest.approx(0.25, abs=0.01)


def test_bins_of_equal_mass_hold_every_row_and_equal_scores_share_one():
    bins = calibration(np.repeat([0.1, 0.3, 0.3, 0.9], 25), np.arange(100) % 2 == 0, 0.0).bins

    assert [each.mean_score for each in bins] == pytest.approx([0.1, 0.3, 0.9])
    assert [each.rows for each in bins] == [25, 50, 25]
