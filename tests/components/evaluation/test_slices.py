"""Slices need enough rows, are cut as training rows say, and the worst of many is not called more than chance."""

import numpy as np
import pyarrow as pa
import pytest

from components.shared.errors import InputError
from components.shared.measures import slices
from components.shared.measures.metrics import scorecard


def table(**columns) -> pa.Table:
    return pa.table({name: pa.array(list(values)) for name, values in columns.items()})


def scored(rng: np.random.Generator, rows: int, *, bad: np.ndarray | None = None):
    """Scores that know the truth, but guess on the ``bad`` rows."""
    truth = rng.random(rows) < 0.4
    score = np.clip(0.5 + np.where(truth, 0.15, -0.15) + rng.normal(size=rows) * 0.15, 0, 1)
    if bad is not None:
        score[bad] = rng.random(int(bad.sum()))
    return scorecard("binary", truth, score, 0.5)


def search(columns: dict[str, np.ndarray], card, **changes):
    frame = table(**columns)
    how = {"min_support": 50, "confidence": 0.95, "higher_is_better": True, "seed": 1} | changes
    rows = np.arange(frame.num_rows)
    return slices.worst(slices.Groups(frame, frame), list(columns), card, card, rows, **how)


def test_a_segment_in_which_the_model_guesses_is_worst_among_many_columns():
    rng = np.random.default_rng(1)
    columns = {f"c{i}": rng.choice(list("abcd"), 3000) for i in range(10)}

    worst = search(columns, scored(rng, 3000, bad=columns["c7"] == "b"))

    assert worst.where == {"c7": "b"}
    assert worst.beyond_chance
    assert worst.searched == 40
    assert "is significantly worse than all rows" in worst.remark
    assert worst.difference_high < 0
    assert f"the plain model has {worst.plain:.3f} there" in worst.remark


def test_of_slices_that_differ_by_chance_alone_the_worst_is_rarely_called_more():
    alarms = 0
    for trial in range(20):
        rng = np.random.default_rng(100 + trial)
        columns = {f"c{i}": rng.choice(list("abcd"), 1000) for i in range(8)}
        worst = search(columns, scored(rng, 1000))
        assert worst.difference < 0
        alarms += worst.beyond_chance

    # One in twenty is promised; four would be one chance in sixty.
    assert alarms <= 3
    assert "it is not significantly worse than all rows" in worst.remark


def test_a_slice_with_more_error_is_the_worst_where_lower_is_better():
    rng = np.random.default_rng(2)
    column, truth = rng.choice(list("ab"), 600), rng.normal(size=600)
    card = scorecard("regression", truth, truth + rng.normal(size=600) * np.where(column == "b", 1.0, 0.2), None)

    assert search({"c": column}, card).where == {"c": "b"}


def test_numbers_are_cut_at_the_quartiles_of_the_training_rows():
    groups = slices.Groups(table(x=np.arange(101.0)), table(x=[-5.0, 25.0, 49.0, 50.0, 1e9, float("nan")]))

    assert groups.of("x").texts().tolist() == [
        "below 25", "25 to below 50", "25 to below 50", "50 to below 75", "75 or more", "missing",
    ]  # fmt: skip


def test_few_distinct_numbers_truths_and_gaps_are_values():
    frame = table(n=[1, 2, None], b=[True, None, False])

    groups = slices.Groups(frame, frame)

    assert groups.of("n").texts().tolist() == ["1", "2", "missing"]
    assert groups.of("b").texts().tolist() == ["true", "missing", "false"]


def test_slices_of_several_columns_are_their_combinations_and_cover_each_row_once():
    rng = np.random.default_rng(3)
    columns = {"a": rng.choice(list("xy"), 200), "b": rng.choice(list("uvw"), 200), "c": rng.choice(list("pq"), 200)}
    frame = table(**columns)

    worst = list(slices.Groups(frame, frame).slices(["a", "b", "c"]))

    assert len(worst) == 12
    assert sorted(np.concatenate([part.rows for part in worst])) == list(range(200))
    for part in worst:
        assert all((columns[name][part.rows] == value).all() for name, value in part.where.items())


@pytest.mark.parametrize(
    ("positives", "rows", "judged"), [(25, 49, False), (25, 50, True), (4, 50, False), (5, 50, True), (50, 50, False)]
)
def test_a_slice_needs_rows_and_a_tenth_of_them_in_either_class(positives, rows, judged):
    truth = np.arange(rows) < positives
    card = scorecard("binary", truth, np.linspace(0, 1, rows), 0.5)

    assert slices.supported(slices.Slice({}, np.arange(rows)), card, min_support=50) is judged


def test_a_misspelt_column_names_the_nearest():
    frame = table(region=["n"], plan=["a"])

    with pytest.raises(InputError, match=r"names the column 'regoin', .* did you mean 'region'"):
        slices.Groups(frame, frame).of("regoin")


def test_without_a_slice_that_has_support_there_is_no_worst():
    rng = np.random.default_rng(4)

    assert search({"c": rng.choice(list("ab"), 60)}, scored(rng, 60)) is None
