"""The comparison with other libraries takes each table as it is, and does not take paired splits for new tables."""

import numpy as np
import pytest

from components.shared.errors import InputError
from pipelines.bench import models


def test_the_label_is_the_last_column_unless_the_folder_names_another(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,left\n1,2,yes\n")
    (tmp_path / "b.csv").write_text('x;"y; z";sold on\n1;2;3\n')
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    (tmp_path / "labels.yaml").write_text("c.csv: x\n")

    assert [(path.name, label) for path, label in models.tables(tmp_path)] == [
        ("a.csv", "left"), ("b.csv", "sold on"), ("c.csv", "x"),
    ]  # fmt: skip


def test_a_folder_without_a_table_is_bad_input(tmp_path, capsys):
    with pytest.raises(InputError, match="has no CSV file; expected a folder of tables"):
        list(models.tables(tmp_path))
    assert models.main([]) == 2
    assert "make bench-models TABLES=FOLDER" in capsys.readouterr().err


def test_an_interval_over_splits_that_share_rows_is_wider_than_one_over_new_tables():
    differences = np.random.default_rng(0).normal(0.01, 0.002, 10).tolist()
    found = models.paired(differences)
    naive = 2.262 * np.std(differences, ddof=1) / np.sqrt(10)

    assert found.mean == pytest.approx(np.mean(differences), abs=1e-6)
    assert found.high - found.mean == pytest.approx(naive * np.sqrt(1 + 10 * 0.2 / 0.65), rel=1e-3)
