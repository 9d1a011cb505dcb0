"""Rows of a table reach the model as numbers and text, whatever types the table has."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.categories import category_text
from components.shared.inputs.rows import Inputs
from components.shared.learning import encoding, labels
from tests.components import made_splits


def test_a_whole_number_is_the_same_category_with_and_without_gaps():
    whole = pa.table({"plan": pa.array([1, 2, 3])})
    with_gap = pa.table({"plan": pa.array([1.0, None, 3.0])})

    assert rows.texts(whole, "plan").tolist() == ["1", "2", "3"]
    assert rows.texts(with_gap, "plan").tolist() == ["1", "", "3"]


def test_every_kind_of_column_becomes_text():
    table = pa.table(
        {
            "bool": pa.array([True, None]),
            "dictionary": pa.array(["ä", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
        }
    )

    assert [rows.texts(table, name).tolist() for name in table.column_names] == [["true", ""], ["ä", ""], ["", ""]]


def test_chunks_with_different_dictionaries_keep_their_words():
    chunks = [pa.array(words).dictionary_encode() for words in (["a", "b"], ["c", "a"])]

    assert rows.texts(pa.table({"plan": pa.chunked_array(chunks)}), "plan").tolist() == ["a", "b", "c", "a"]


def test_numbers_booleans_and_decimals_become_float32_and_gaps_nan():
    table = pa.table({"n": pa.array([1, None]), "b": pa.array([True, None]), "d": pa.array([Decimal("1.5"), None])})
    found = rows.inputs(table, ["n", "b", "d"], []).numeric

    assert found.dtype == np.float32
    assert found[0].tolist() == [1, 1, 1.5]
    assert np.isnan(found[1]).all()


def test_text_under_a_numeric_feature_is_refused_with_both_ways_out():
    with pytest.raises(
        InputError, match=r"'age' is numeric .* has the type string; declare it as categorical, or cast it"
    ):
        rows.inputs(pa.table({"age": ["12"]}), ["age"], [])


def test_a_column_that_the_splits_lack_is_named(tmp_path):
    made_splits.write(tmp_path, made_splits.table(rows=20))

    with pytest.raises(InputError, match=r"train.parquet of the splits lacks the columns \['tenure'\]"):
        rows.read(tmp_path / "train.parquet", ["usage", "tenure"])


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_infinity=False), st.text()))
def test_reading_a_category_twice_changes_nothing(value):
    assert category_text(category_text(value)) == category_text(value)


numbers = st.lists(st.one_of(st.just(np.nan), st.floats(width=32, allow_infinity=False)), min_size=1, max_size=60)


@given(numbers, st.integers(2, 32))
def test_whatever_the_numbers_the_buckets_are_finite_ordered_and_not_too_many(column, bins):
    raw = Inputs(np.array(column, np.float32)[:, None], np.empty((len(column), 0), object))
    learned = encoding.learn(raw, bins=bins, max_vocabulary=5)
    ends = np.array(learned.bucket_low) + np.array(learned.bucket_width)

    assert len(learned.bucket_low) <= bins + 1
    assert np.isfinite([*learned.low, *learned.high, *learned.mean, *learned.scale, *ends]).all()
    assert all(width > 0 for width in learned.bucket_width)
    assert learned.low[0] <= learned.median[0] <= learned.high[0]


def test_a_label_with_one_answer_is_refused():
    table = pa.table({"answer": ["no", "no"]})

    with pytest.raises(InputError, match=r"'answer' is \['no'\] in all 2 training rows"):
        labels.learn(made_splits.project(), table, table)


def test_three_answers_are_not_binary():
    table = pa.table({"answer": ["no", "yes", "maybe"]})

    with pytest.raises(InputError, match=r"has 3 different values.*set 'task: multiclass'"):
        labels.learn(made_splits.project(), table, table)


def test_the_positive_answer_may_be_written_as_a_number_or_as_a_boolean():
    table = pa.table({"answer": [True, False]})
    label = {"source": "rows", "column": "answer", "positive": 1}

    assert labels.learn(made_splits.project(label=label), table, table).classes == ("false", "true")


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_row_without_a_label_is_refused(task):
    table = pa.table({"answer": pa.array([0.0, 1.0, None])})

    with pytest.raises(InputError, match="'answer' is missing in 1 of 3 training rows"):
        labels.learn(made_splits.project(task), table, table)


def test_a_positive_answer_that_no_row_has_is_refused():
    table = pa.table({"answer": ["no", "yes"]})
    label = {"source": "rows", "column": "answer", "positive": "Yes"}

    with pytest.raises(InputError, match=r"label.positive is 'Yes', but 'answer' has the values \['no', 'yes'\]"):
        labels.learn(made_splits.project(label=label), table, table)
