"""`perennial init` takes each column for what it is, says why, and writes a project that parses."""

import csv
import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from components.ingestion import logic
from components.shared.errors import InputError
from pipelines.project import initialise, project_file
from tests.components import made_table

# The public table of telephone customers, as CSV.
TELCO = Path(os.environ.get("PERENNIAL_TELCO", "telco_customer_churn.csv"))
ROWS = 240


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def table(**more: list[Any]) -> dict[str, list[Any]]:
    """Make columns around a label that they do not give away."""
    return (
        {"x": [n * 7 % 31 / 4 for n in range(ROWS)]} | more | {"y": [("no", "no", "yes")[n % 3] for n in range(ROWS)]}
    )


def guess(folder: Path, columns: dict[str, list[Any]], label: str = "y", **roles: Any) -> initialise.Guess:
    return initialise.write(write_csv(folder / "rows.csv", columns), label, out=folder / "project", **roles)


def taken(found: initialise.Guess, column: str) -> str:
    return {name: kind for name, kind, _ in found.table()}[column]


def answer(folder: Path) -> list[dict[str, Any]]:
    """Run the written SQL over the written project's snapshot, in the order of the rows."""
    project = project_file.read(folder / "project")
    logic.ingest(project, str(folder / "project"), folder / "snapshot")
    [source] = project.sources
    with duckdb.connect() as engine:
        engine.execute(f"CREATE VIEW \"{source}\" AS SELECT * FROM '{folder / 'snapshot' / source}.parquet'")
        [sql] = (folder / "project" / "feature_repo" / "sql").iterdir()
        return engine.sql(sql.read_text()).order(f'"{project.entity}"').to_arrow_table().to_pylist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Yes", "No"], "boolean"),
        (["TRUE", "false"], "boolean"),
        (["1", "0"], "boolean"),
        (["y", "n", "", "n"], "boolean"),
        (["red", "green", "blue"], "categorical"),
        (["female", "male"], "categorical"),
        (["01234", "09876", "55555"], "categorical"),
        (["1.5", "n/a"] + ["2.5"] * 60, "numeric"),
        ([" ", "18.5", "20"], "numeric"),
        (["2023-04-01", "2024-01-31"], "numeric"),
        (["same"], "left out"),
        ([""], "left out"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[0]),
)
def test_a_column_is_taken_for_what_its_values_are(tmp_path: Path, values: list[str], kind: str) -> None:
    found = guess(tmp_path, table(c=[values[n % len(values)] for n in range(ROWS)]))

    assert taken(found, "c") == kind


@pytest.mark.parametrize(
    ("name", "values", "word"),
    [
        ("customerID", [f"{n:04d}-ABC" for n in range(ROWS)], "identifier"),
        ("index", list(range(ROWS)), "identifier"),
        ("note", [f"called about {n // 2 * 2} things, and {'more' * 20}" for n in range(ROWS)], "different texts"),
        ("outcome", [("kept", "kept", "lost")[n % 3] for n in range(ROWS)], "equivalent to the label"),
    ],
)
def test_what_a_model_cannot_learn_from_is_left_out_with_a_reason(
    tmp_path: Path, name: str, values: list[Any], word: str
) -> None:
    found = guess(tmp_path, table(**{name: values}))

    assert taken(found, name) == "left out"
    assert word in {column: reason for column, _, reason in found.table()}[name]
    assert name not in project_file.read(tmp_path / "project").features.columns


def test_many_categories_are_kept_and_counted(tmp_path: Path) -> None:
    found = guess(tmp_path, table(city=[f"city {n % 115}" for n in range(ROWS)]))

    assert taken(found, "city") == "categorical"
    assert ("city", "categorical", "115 categories") in found.table()


@pytest.mark.parametrize(
    ("values", "task", "positive"),
    [
        (["Yes", "No"], "binary", "Yes"),
        (["0", "1"], "binary", 1),
        (["False", "True"], "binary", True),
        (["kept", "kept", "lost"], "binary", "lost"),
        (["a", "b", "c"], "multiclass", None),
        ([str(n) for n in range(10)], "multiclass", None),
        ([str(n) for n in range(60)], "regression", None),
        (["0.5", "1.25", "3.5"], "regression", None),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),
)
def test_the_label_decides_the_task(tmp_path: Path, values: list[str], task: str, positive: Any) -> None:
    guess(tmp_path, {"x": [n * 7 % 31 for n in range(ROWS)], "y": [values[n % len(values)] for n in range(ROWS)]})
    project = project_file.read(tmp_path / "project")

    assert (project.task, project.label.positive) == (task, positive)


@pytest.mark.parametrize(
    ("values", "said"),
    [(["one"], "only the value 'one'"), ([""], "no value"), ([f"k{n}" for n in range(ROWS)], "240 classes")],
)
def test_a_label_that_cannot_be_learnt_is_refused_and_nothing_is_written(
    tmp_path: Path, values: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        guess(tmp_path, {"x": list(range(ROWS)), "y": [values[n % len(values)] for n in range(ROWS)]})

    assert not (tmp_path / "project").exists()


def test_rows_without_a_label_are_dropped_and_said(tmp_path: Path) -> None:
    columns = table()
    columns["y"][:7] = [""] * 7

    assert any("7 rows without a label" in note for note in guess(tmp_path, columns).notes)
    assert project_file.read(tmp_path / "project").label.missing == "drop"


def test_without_entity_and_time_both_are_made_and_both_are_said(tmp_path: Path) -> None:
    found = guess(tmp_path, table(row_number=[n * 3 % 17 for n in range(ROWS)]))
    source = project_file.read(tmp_path / "project").sources["rows"]

    assert any("No --entity" in note for note in found.notes)
    assert any("No --time" in note for note in found.notes)
    assert source.row_number == "row_number_"
    assert source.constant_time is not None
    assert found.split == "random"


def test_with_entity_and_time_rows_are_split_by_time(tmp_path: Path) -> None:
    days = [f"2024-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(ROWS)]
    columns = table(who=[f"c{n % 20}" for n in range(ROWS)], day=days)
    found = guess(tmp_path, columns, entity="who", time="day")

    assert (found.entity, found.event_time, found.split) == ("who", "day", "time")
    assert [taken(found, "who"), taken(found, "day")] == ["entity", "time"]


def test_an_entity_with_several_rows_and_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 20 different values in 240 rows"):
        guess(tmp_path, table(who=[f"c{n % 20}" for n in range(ROWS)]), entity="who")


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ({"entity": "whoo"}, "Did you mean 'who'"),
        ({"time": "dya"}, "Did you mean 'day'"),
        ({"entity": "y"}, "must name different columns"),
    ],
)
def test_a_wrong_flag_is_refused_with_the_nearest_column(tmp_path: Path, role: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        guess(tmp_path, table(who=list(range(ROWS)), day=["2024-01-01"] * ROWS), **role)


def test_a_project_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    guess(tmp_path, table())
    before = (tmp_path / "project" / "project.yaml").read_bytes()
    with pytest.raises(InputError, match="already exists"):
        guess(tmp_path, table(z=list(range(ROWS))))

    assert (tmp_path / "project" / "project.yaml").read_bytes() == before


def test_the_sql_gives_numbers_truth_values_and_gaps(tmp_path: Path) -> None:
    columns = table(
        flag=["YES" if n % 2 else " no" for n in range(ROWS)],
        count=["?" if n == 1 else "10" if n % 2 else "7.5" for n in range(ROWS)],
        born=["2019-12-31" if n % 2 else "2019-12-22" for n in range(ROWS)],
        gap=["" if n == 1 else n for n in range(ROWS)],
    )
    guess(tmp_path, columns)
    rows = answer(tmp_path)

    assert [[row[name] for name in ("flag", "count", "born", "gap")] for row in rows[:4]] == [
        [False, 7.5, 10.0, 0.0],
        [True, None, 1.0, None],
        [False, 7.5, 10.0, 2.0],
        [True, 10.0, 1.0, 3.0],
    ]


names = st.text(
    st.one_of(
        st.sampled_from("aZ09 .:'\"()%#-_&*?[]{}!@,;|/\\äß漢"),
        st.characters(codec="utf-8", categories=["L", "N", "P", "S"]),
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: name.strip() == name)


@settings(max_examples=12, deadline=None)
@given(given_names=st.lists(names, min_size=3, max_size=6, unique_by=str.lower))
def test_whatever_the_columns_are_called_the_project_runs(
    tmp_path_factory: pytest.TempPathFactory, given_names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    columns = {name: [n * (7 + 2 * k) % 31 for n in range(40)] for k, name in enumerate(given_names)}
    pq.write_table(pa.table(columns | {"the label": [n % 2 for n in range(40)]}), folder / "rows.parquet")
    if len({name.lower() for name in [*columns, "the label"]}) <= len(columns):
        return
    initialise.write(folder / "rows.parquet", "the label", out=folder / "project")
    wanted = project_file.read(folder / "project").features.columns
    rows = answer(folder)

    assert set(wanted) <= set(rows[0])
    assert [rows[3][name] for name in wanted] == [float(values[3]) for values in columns.values()]


def test_the_feature_repository_is_valid_python_with_every_feature(tmp_path: Path) -> None:
    guess(tmp_path, table(**{'a "q"': list("ab" * (ROWS // 2)), "it's\\": list("xy" * (ROWS // 2))}))
    compile((tmp_path / "project" / "feature_repo" / "features.py").read_text(), "features.py", "exec")
    text = (tmp_path / "project" / "feature_repo" / "features.py").read_text()

    for name in project_file.read(tmp_path / "project").features.columns:
        assert f"Field(name={name!r}, " in text


@pytest.mark.parametrize(
    ("name", "task", "features"),
    [
        ("diabetes", "regression", 10),
        ("iris", "multiclass", 4),
        ("wine", "multiclass", 13),
        ("digits", "multiclass", 61),
        ("breast_cancer", "binary", 30),
    ],
)
def test_tables_of_scikit_learn_become_projects(tmp_path: Path, name: str, task: str, features: int) -> None:
    data = getattr(datasets, f"load_{name}")()
    columns = dict(zip(map(str, data.feature_names), data.data.T.tolist(), strict=True)) | {
        "target": data.target.tolist()
    }
    guess(tmp_path, columns, "target")
    project = project_file.read(tmp_path / "project")

    assert project.task == task
    assert len(project.features.columns) == features
    assert all(value is not None for row in answer(tmp_path)[:20] for value in row.values())


@pytest.mark.skipif(not TELCO.is_file(), reason="PERENNIAL_TELCO names no CSV of the Telco table")
def test_the_telco_table_is_understood(tmp_path: Path) -> None:
    found = initialise.write(TELCO, "Churn", out=tmp_path / "project")
    kinds = {name: kind for name, kind, _ in found.table()}

    assert found.target.positive == "Yes"
    assert any(name == "TotalCharges" and "blank in 11 of 7,043" in reason for name, _, reason in found.table())
    assert kinds["customerID"] == "left out"
    assert (kinds["TotalCharges"], kinds["tenure"]) == ("numeric", "numeric")
    assert (kinds["SeniorCitizen"], kinds["Partner"], kinds["Contract"]) == ("boolean", "boolean", "categorical")
    totals = [row["TotalCharges"] for row in answer(tmp_path)]
    assert (totals.count(None), len(totals)) == (11, 7043)


def test_the_schema_is_the_one_that_data_validation_is_tested_with(tmp_path: Path) -> None:
    found = initialise.write(made_table.write_csv(tmp_path / "made_table.csv"), "y", out=tmp_path / "project")
    written = (tmp_path / "project" / "feature_repo" / "schema" / "made_table.pbtxt").read_text()

    assert len(found.columns) == len(made_table.columns()) + 2
    assert written == made_table.GOLDEN.read_text()
