"""Intervals and sets hold their level of exchangeable rows, exactly in tiny cases, and evaluation measures that."""

import json
import math
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import coverage
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.model_facts import ConformalScores, ModelFacts
from components.shared.errors import InputError
from components.shared.measures import conformal, labels
from components.shared.measures.proportion import proportion
from components.shared.package.regions import Bounds, regions
from components.shared.package.table_model import TableModel
from tests import documents
from tests.components.evaluation.test_evaluate import Run, table

LEVELS = (0.5, 0.8, 0.9, 0.95)


def calibrated(errors: list[float] | np.ndarray) -> ConformalScores:
    """Return the calibration of a regression that answers 0 and errs so much."""
    return conformal.calibrate("regression", np.zeros(len(errors)), np.asarray(errors, dtype=float))


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("level", [0.1, 0.25, 0.5, 0.75, 0.8, 0.9])
def test_the_correction_for_few_rows_is_exact(rows: int, level: float):
    """Among n + 1 exchangeable rows each is the new one equally often: the limit holds at least the level of them."""
    errors = list(map(float, range(1, rows + 2)))
    held: list[bool] = []
    for new in range(rows + 1):
        limits = conformal.limits(calibrated(errors[:new] + errors[new + 1 :]), level)
        held.append(limits is None or errors[new] <= limits[0])

    wanted = math.ceil((rows + 1) * Fraction(str(level)))
    assert sum(held) == min(wanted, rows + 1)
    if wanted <= rows:
        # One rank lower would hold too few.
        assert Fraction(wanted - 1, rows + 1) < Fraction(str(level)) <= Fraction(sum(held), rows + 1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0.01, 0.999))
def test_the_limit_is_at_least_that_of_the_level_and_grows_with_it(errors, level):
    kept, ordered = calibrated(errors), sorted(errors)
    limits = conformal.limits(kept, level)

    if limits is None:
        assert conformal.rank(len(errors), level) > len(errors)
        assert level > conformal.highest_level(kept)
    else:
        assert limits[0] >= ordered[conformal.rank(len(errors), level) - 1]
        lower = conformal.limits(kept, level / 2)
        assert lower is not None and lower[0] <= limits[0]


@given(st.lists(st.integers(0, 5), min_size=5, max_size=5))
def test_the_order_of_rows_does_not_matter(errors):
    assert {calibrated(list(map(float, order))) for order in permutations(errors)} == {calibrated(errors)}


def one_trial(task: str, rows: int, seed: int, level: float) -> tuple[int, int]:
    """Calibrate a model that answers what is likely, and return how many of 400 new rows its regions hold."""
    random = np.random.default_rng(seed)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = random.normal(size=count)
        if task == "regression":
            # The errors grow with the answer, and have heavy tails.
            answers = np.exp(x)
            return answers, answers * (1 + 0.3 * random.standard_t(3, size=count))
        logits = np.stack([x, np.zeros(count), -x], axis=1) * 2
        noisy = logits + random.gumbel(size=logits.shape)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        if task == "multiclass":
            # Of little confidence and rounded, so that many rows have equal probabilities.
            return np.round(probabilities**0.5 / (probabilities**0.5).sum(axis=1, keepdims=True), 1), noisy.argmax(1)
        return 1 / (1 + np.exp(-x)), random.random(count) < 1 / (1 + np.exp(-2 * x))

    scores, truth = drawn(rows)
    kept = conformal.calibrate(task, scores, truth)  # type: ignore[arg-type]
    limits = conformal.limits(kept, level)
    assert limits is not None
    new, labels = drawn(400)
    if task == "regression":
        lower, upper = conformal.bounds(kept, new, limits)
        return int(((lower <= labels) & (labels <= upper)).sum()), 400
    sets = conformal.members(task, new, limits)  # type: ignore[arg-type]
    return int(sets[np.arange(400), labels.astype(int)].sum()), 400


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("rows", [19, 60, 1100])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_regions_hold_the_level_of_exchangeable_rows_whatever_the_model_is(task: str, rows: int, level: float):
    shares = np.array([one_trial(task, rows, seed, level)[0] / 400 for seed in range(300)])

    # The level holds on average over calibrations; four standard errors leave chance a ten-thousandth.
    assert shares.mean() >= level - 4 * shares.std() / math.sqrt(len(shares))
    if task == "regression":
        # Without ties, a limit is above the level by less than one row of a group.
        groups = 5 if rows >= 1000 else 1
        assert shares.mean() <= level + groups / (rows + 1) + 4 * shares.std() / math.sqrt(len(shares))


def test_a_regression_that_errs_by_the_size_of_its_answer_is_held_at_every_size():
    random = np.random.default_rng(3)
    answers = random.lognormal(size=40_000)
    labels = answers * (1 + 0.3 * random.normal(size=40_000))
    kept = conformal.calibrate("regression", answers[:20_000], labels[:20_000])
    limits = conformal.limits(kept, 0.9)
    assert limits is not None and len(kept.groups) == conformal.MOST_GROUPS
    lower, upper = conformal.bounds(kept, answers[20_000:], limits)
    held = (lower <= labels[20_000:]) & (labels[20_000:] <= upper)

    for group in range(len(kept.groups)):
        rows = np.searchsorted(kept.edges, answers[20_000:]) == group
        assert held[rows].mean() == pytest.approx(0.9, abs=0.02)
    assert limits[-1] > 3 * limits[0]


def test_groups_have_enough_rows_and_end_between_two_answers():
    answers = np.repeat([1.0, 2.0, 3.0, 4.0], [500, 10, 300, 190])

    kept = conformal.calibrate("regression", answers, answers + 1)

    assert kept.edges == (1.5,)
    assert [group.rows for group in kept.groups] == [500, 500]


def test_an_error_that_is_not_finite_limits_nothing():
    kept = calibrated([1.0, 2.0, math.inf, math.nan])

    assert conformal.limits(kept, 0.4) == [2.0]
    assert conformal.limits(kept, 0.5) is None
    assert conformal.highest_level(kept) == 0.4


def test_the_slack_widens_every_region():
    plain, wide = (conformal.calibrate("binary", np.array([0.9, 0.4]), np.array([1, 0]), slack=s) for s in (0, 0.01))

    assert np.subtract(wide.groups[0].scores, plain.groups[0].scores) == pytest.approx(0.01)


def test_a_package_answers_any_level_that_its_rows_suffice_for_and_says_which_do_not(tmp_path: Path):
    kept = calibrated(np.arange(1, 100) / 100)
    facts = documents.model_facts(task="regression", classes=None, positive=None, threshold=None, conformal=kept)
    facts.write(tmp_path)
    scores = np.array([5.0, 7.0], np.float32)

    answered = regions(ModelFacts.read(tmp_path), scores, 0.9)

    assert isinstance(answered, Bounds)
    assert answered.lower.tolist() == pytest.approx([4.1, 6.1]) and answered.upper.tolist() == pytest.approx([5.9, 7.9])
    with pytest.raises(InputError, match=r"'interval' is 0\.995, but the 99 validation rows .* allow at most 0\.99;"):
        regions(facts, scores, 0.995)
    for level in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(InputError, match=r"expected a number above 0 and below 1"):
            regions(facts, scores, level)


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson():
    for hits, rows in ((0, 5), (5, 5), (30, 40), (3742, 4000)):
        exact = scipy.stats.binomtest(hits, rows).proportion_ci(0.95, "exact")
        measured = proportion(np.arange(rows) < hits, np.arange(rows), 0.95)
        assert (measured.low, measured.high) == pytest.approx((exact.low, exact.high))
        assert measured.effective_rows == rows


def test_rows_of_one_entity_count_as_little_as_they_tell():
    clusters = np.repeat(np.arange(100), 10)
    whole = proportion(clusters < 90, clusters, 0.95)
    alone = proportion(np.arange(100) < 90, np.arange(100), 0.95)

    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert whole.effective_rows == pytest.approx(100, rel=0.05)
    assert proportion(np.ones(1000, bool), clusters, 0.95).low == pytest.approx(0.025 ** (1 / 100))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_evaluation_measures_what_the_regions_hold(tmp_path: Path, task: str):
    run = Run(tmp_path, task)
    calibrate_package(run, table(task, 300, seed=9))

    measured = run.evaluate()

    assert EvaluationReport.read(tmp_path / "evaluation") == measured
    assert [part.level for part in measured.coverage] == list(LEVELS)
    sizes = [part.mean_size for part in measured.coverage]
    assert sizes == sorted(sizes)
    for part in measured.coverage:
        assert part.held.value is not None and part.held.low is not None and part.held.high is not None
        assert part.held.low < part.held.value <= part.held.high
        assert part.held.value > part.level - 0.07
        assert not part.is_too_low
        assert len(part.by_part) == {"binary": 2, "multiclass": 3, "regression": 5}[task]
        assert (part.single is None) == (task == "regression")


def test_regions_of_rows_unlike_the_test_rows_hold_too_few_and_it_shows(tmp_path: Path):
    run = Run(tmp_path, "regression")
    narrow = conformal.calibrate("regression", np.zeros(300), np.linspace(0, 0.5, 300))
    rewrite(run, narrow)

    [half, *_, high] = run.evaluate().coverage

    assert half.is_too_low and high.is_too_low
    assert half.mean_size == pytest.approx(0.5, abs=0.01)
    assert high.expected_low == pytest.approx(0.91, abs=0.02)


def test_a_package_without_calibration_is_evaluated_without_coverage(tmp_path: Path):
    assert Run(tmp_path, "binary").evaluate().coverage == ()


def test_what_chance_leaves_is_the_quantile_of_the_beta_binomial_distribution():
    kept = calibrated(np.arange(1, 200) / 200)
    share = proportion(np.arange(400) < 360, np.arange(400), 0.95)

    expected = coverage._expected_low(kept, 0.9, share, 0.95)

    assert expected == scipy.stats.betabinom.ppf(0.025, 400, 180, 20) / 400


def calibrate_package(run: Run, rows: pa.Table) -> None:
    """Calibrate the run's package on rows that it was not trained on."""
    model = TableModel.open(run.folder / "model")
    truth = labels.labels(rows, "label", list(model.facts.classes or ()))
    rewrite(run, conformal.calibrate(model.facts.task, model.score(model.inputs(rows)), truth))


def rewrite(run: Run, kept: ConformalScores) -> None:
    path = run.folder / "model" / ModelFacts.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"conformal": kept.model_dump(mode="json")}))
    documents.seal(run.folder / "model")
