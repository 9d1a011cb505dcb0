"""Rows that are too many to encode at once give the same models, to the digit, as the same rows encoded at once."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.inputs import rows
from components.shared.learning import fitting, prepare
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.trees import Boosting
from components.shared.project import Training
from components.training.families.catalog import FAMILIES
from tests.components import made_splits

SETTINGS = Training(epochs=3, hidden="8", bins=4, batch_size=32)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Splits of each task, by task."""
    folder = tmp_path_factory.mktemp("streaming")
    return {
        task: made_splits.write(folder / task, made_splits.table(task, rows=400))
        for task in ("binary", "multiclass", "regression")
    }


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("family", ["plain", "network"])
def test_a_model_is_the_same_however_its_rows_are_encoded(splits, monkeypatch, task, family):
    fitting.steady(7)
    data = prepare.read(made_splits.project(task), splits[task])
    at_once = FAMILIES[family](data, SETTINGS, 7, {})
    monkeypatch.setattr(prepare, "ENCODED_BYTES_MAX", 0)
    streamed = FAMILIES[family](data, SETTINGS, 7, {})

    assert prepare.encode(data, SETTINGS).train.expand is not None
    assert streamed.learned.content() == at_once.learned.content()
    assert streamed.progress.best_loss == at_once.progress.best_loss
    assert streamed.progress.history == at_once.progress.history
    np.testing.assert_array_equal(streamed.validation_logits, at_once.validation_logits)


@pytest.mark.parametrize("chosen", [None, [0, 3, 4, 99, 100, 399], []])
def test_rows_that_are_read_in_groups_are_those_of_the_whole_table(tmp_path, monkeypatch, chosen):
    table = made_splits.table(rows=400)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=60)
    monkeypatch.setattr(rows.row_groups, "ROWS", 100)
    numbers = None if chosen is None else np.array(chosen, np.int64)
    project = made_splits.project()
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    some = table if chosen is None else table.take(pa.array(chosen, pa.int64()))
    expected = rows.inputs(some, numeric, categorical)
    read = rows.read_inputs(tmp_path / "rows.parquet", numeric, categorical, numbers)

    np.testing.assert_array_equal(read.numeric, expected.numeric)
    assert read.categorical.tolist() == expected.categorical.tolist()


def test_a_trial_sees_no_more_rows_of_a_part_than_the_project_allows(splits):
    data = prepare.read(made_splits.project(), splits["binary"], max_rows=50)

    assert (len(data.train), len(data.validation)) == (50, 50)
    assert (len(data.train_labels), len(data.validation_labels)) == (50, 50)


def test_trees_of_numbers_in_single_precision_are_those_in_double_precision(splits):
    prepared = prepare.for_trees(prepare.read(made_splits.project(), splits["binary"]), SETTINGS)
    forests = []
    for dtype in (np.float32, np.float64):
        train, held_out = (
            replace(part, matrix=part.matrix.astype(dtype)) for part in (prepared.train, prepared.validation)
        )
        boosting = Boosting(train, held_out, prepared.numbers)
        forests.append(boosting.fit(LabelEncoding("binary", ("no", "yes")), SETTINGS.trees, seed=7).text)

    assert forests[0] == forests[1]
