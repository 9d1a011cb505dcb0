"""`perennial init` promises no run that the steps must refuse."""

import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from components.split import logic as split
from pipelines.project import initialise, project_file
from tests.end_to_end.command import perennial
from tests.pipelines.test_initialise import write_csv

LABELS = ("no", "no", "yes")


def table(rows: int, **more: list[Any]) -> dict[str, list[Any]]:
    return {"x": [n * 7 % 31 / 4 for n in range(rows)]} | more | {"y": [LABELS[n % 3] for n in range(rows)]}


def written(folder: Path, columns: dict[str, list[Any]], **roles: Any) -> initialise.Guess:
    return initialise.write(write_csv(folder / "rows.csv", columns), "y", out=folder / "project", **roles)


def divided(folder: Path, columns: dict[str, list[Any]], project: Any) -> Any:
    """Split the rows as a run does, where the label is known."""
    rows = pa.table({"x": columns["x"], "y": columns["y"]})
    keys = {
        project.entity: range(1, len(rows) + 1),
        project.event_time: pa.array([datetime(2020, 1, 1)] * len(rows), pa.timestamp("us")),
    }
    for name, values in (keys | {name: columns[name] for name in keys if name in columns}).items():
        rows = rows.append_column(name, pa.array(values))
    (folder / "set").mkdir()
    pq.write_table(rows, folder / "set" / "rows.parquet")
    return split.divide(project, folder / "set", folder / "parts").rows


@pytest.mark.parametrize("rows", [45, 60])
@pytest.mark.parametrize("entity", [None, "who"])
def test_the_parts_of_a_small_table_are_large_enough_for_a_run(tmp_path, rows, entity):
    columns = table(rows, who=[f"c{n}" for n in range(rows)])
    written(tmp_path, columns, entity=entity)

    parts = divided(tmp_path, columns, project_file.read(tmp_path / "project"))

    assert min(parts.train, parts.validation, parts.test) >= split.MIN_ROWS


def test_a_table_that_no_split_makes_large_enough_is_refused_with_its_parts(tmp_path):
    with pytest.raises(InputError, match=r"^24 rows are too few.*: even shares of .* at least 10 rows and two classes"):
        written(tmp_path, table(24))
    assert not (tmp_path / "project").exists()


def test_a_large_table_keeps_the_usual_shares(tmp_path):
    found = written(tmp_path, table(1200))

    assert (found.validation, found.test) == (0.15, 0.2)


def test_two_labels_for_one_entity_and_time_are_refused(tmp_path):
    days = [f"2024-01-{1 + n // 6:02d}" for n in range(120)]
    columns = table(120, who=[f"c{n % 3 + 3 * (n // 3 % 2)}" for n in range(120)], day=days)
    columns["who"][1] = columns["who"][2]

    with pytest.raises(InputError, match=r"^1 pairs of 'who' and 'day' have two labels, first 'c2' at 2024-01-01"):
        written(tmp_path, columns, entity="who", time="day")


def test_infinite_numbers_are_refused_by_their_column(tmp_path):
    columns = table(120)
    columns["x"][5] = columns["x"][9] = float("inf")
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")

    with pytest.raises(InputError, match=r"^the column 'x' is infinite in 2 of 120 rows; expected finite numbers"):
        initialise.write(tmp_path / "rows.parquet", "y", out=tmp_path / "project")


def test_a_column_without_single_values_is_left_out_with_a_reason(tmp_path):
    pq.write_table(pa.table(table(120, basket=[[n, n] for n in range(120)])), tmp_path / "rows.parquet")

    found = initialise.write(tmp_path / "rows.parquet", "y", out=tmp_path / "project")

    assert ("basket", "left out", "holds list<element: int64>; expected single values") in found.table()
    assert "# Left out: basket: holds list" in (tmp_path / "project" / "project.yaml").read_text()


def test_a_file_that_is_not_unicode_is_read_in_the_likely_encoding_which_the_project_declares(tmp_path):
    columns = table(120, city=[("Zürich", "Köln", "Nîmes")[n % 3 - n % 7 % 3] for n in range(120)])
    path = write_csv(tmp_path / "rows.csv", columns)
    path.write_bytes(path.read_text(encoding="utf-8").encode("windows-1252"))

    found = initialise.write(path, "y", out=tmp_path / "project")

    assert project_file.read(tmp_path / "project").sources["rows"].encoding == "windows-1252"
    assert any("read as windows-1252" in note for note in found.notes)
    assert "Zürich" in (tmp_path / "project" / "feature_repo" / "schema" / "rows.pbtxt").read_text()


def test_a_flag_names_a_column_however_its_letters_are_composed(tmp_path):
    columns = {"e\u0301": [1.5 * (n * 7 % 31) for n in range(120)], "cafe\u0301": [LABELS[n % 3] for n in range(120)]}

    initialise.write(write_csv(tmp_path / "rows.csv", columns), "caf\u00e9", out=tmp_path / "project")

    assert project_file.read(tmp_path / "project").label.column == "cafe\u0301"


def test_the_next_command_can_be_pasted_into_a_shell(tmp_path):
    write_csv(tmp_path / "rows.csv", table(120))

    done = perennial("init", "rows.csv", "--label", "y", "--out", "with space/it's", cwd=tmp_path)

    command = done.stdout.splitlines()[-1].removeprefix("next: ").partition(" && ")[0]
    assert subprocess.run(["sh", "-c", f"{command} && pwd"], cwd=tmp_path, capture_output=True, text=True).stdout == (
        f"{tmp_path}/with space/it's\n"
    )
