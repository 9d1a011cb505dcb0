"""A table is scored as the endpoint would score its rows, keeps its columns and its order, and hides nothing."""

import csv
import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.documents.model_facts import ConformalGroup, ConformalScores
from components.shared.documents.package_sample import PackageSample
from components.shared.errors import InputError
from components.shared.package.table_model import TableModel
from components.shared.project import Project
from pipelines.images.environments import ROOT
from pipelines.scoring import new_rows, scored_table
from pipelines.scoring.scored_table import ScoredTable

PACKAGE = ROOT / "tests" / "version_0" / "package"
SAMPLE = PackageSample.read(PACKAGE)
MODEL = TableModel.open(PACKAGE)
FEATURES = {feature.name: feature.type for feature in MODEL.facts.features}


def project(**changes: Any) -> Project:
    base: dict[str, Any] = {
        "name": "churn",
        "task": "binary",
        "entity": "customer",
        "event_time": "at",
        "sources": {"rows": {"path": "rows.csv"}, "more": {"path": "more.csv"}},
        "label": {"source": "rows", "column": "churned"},
        "features": {"service": "made", "columns": {name: {"type": kind} for name, kind in FEATURES.items()}},
    }
    return Project.model_validate(base | changes)


def score(
    folder: Path,
    table: Path,
    project_: Project | None = None,
    types: Mapping[str, str] | None = None,
    out: str = "o.csv",
    *,
    model: TableModel = MODEL,
    interval: float | None = None,
) -> ScoredTable:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    for leftover in work.iterdir():
        leftover.unlink()
    with new_rows.open_table(project_ or project(), folder, FEATURES, table, types, work) as rows:
        return scored_table.write(model, "3", rows, folder / out, interval=interval)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("kind", ["csv", "utf-16 csv.gz", "parquet", "folder"])
def test_a_table_of_features_gets_the_scores_of_the_endpoint(tmp_path, kind):
    rows = [dict(row) | {"name": f"row {i}"} for i, row in enumerate(SAMPLE.rows)]
    if kind == "csv":
        table = written(tmp_path / "new.csv", rows)
    elif kind == "utf-16 csv.gz":
        table = tmp_path / "new.csv.gz"
        table.write_bytes(gzip.compress(written(tmp_path / "new.csv", rows).read_text().encode("utf-16")))
    else:
        table = tmp_path / "new.parquet" if kind == "parquet" else tmp_path / "new"
        parts = [rows] if kind == "parquet" else [rows[:1], rows[1:]]
        for number, part in enumerate(parts):
            file = table if kind == "parquet" else table / f"{number}.parquet"
            file.parent.mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(part), file)

    result = score(tmp_path, table)

    scored = read(tmp_path / "o.csv")
    assert [float(row["score"]) for row in scored] == pytest.approx(list(SAMPLE.scores), abs=1e-6)
    threshold = MODEL.facts.threshold
    assert threshold is not None
    assert [row["decision"] for row in scored] == [str(int(float(row["score"]) >= threshold)) for row in scored]
    assert [row["name"] for row in scored] == [f"row {i}" for i in range(len(rows))]
    assert (result.rows, result.ignored, result.unreadable) == (len(rows), ("name",), {})
    assert sum(result.decisions.values()) == len(rows)


def calibrated(**changes: Any) -> TableModel:
    """Return the model with the calibration of 99 rows."""
    group = ConformalGroup(rows=99, ranks=tuple(range(1, 100)), scores=tuple(rank / 100 for rank in range(1, 100)))
    facts = MODEL.facts.model_copy(update={"conformal": ConformalScores(edges=(), groups=(group,))} | changes)
    return TableModel(replace(MODEL.package, facts=facts))


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_a_table_gets_the_sets_or_bounds_of_a_level_if_they_are_wanted(tmp_path, out):
    table = written(tmp_path / "new.csv", [dict(row) | {"set": "mine"} for row in SAMPLE.rows])

    score(tmp_path, table, out=out)
    without = read(tmp_path / out) if out.endswith("csv") else pq.read_table(tmp_path / out).to_pylist()
    result = score(tmp_path, table, out=out, model=calibrated(), interval=0.8)
    sets = read(tmp_path / out) if out.endswith("csv") else pq.read_table(tmp_path / out).to_pylist()
    score(tmp_path, table, out=out, model=calibrated(task="regression"), interval=0.8)
    bounds = read(tmp_path / out) if out.endswith("csv") else pq.read_table(tmp_path / out).to_pylist()

    assert {row["set"] for row in without} == {"mine"}
    assert result.replaced == ("set",)
    negative, positive = MODEL.facts.classes or ()
    for row in sets:
        likely = float(row["score"])
        within = [name for name, p in ((negative, 1 - likely), (positive, likely)) if p >= 0.2]
        assert json.loads(row["set"]) == within
    for row in bounds:
        middle = (float(row["lower"]) + float(row["upper"])) / 2
        assert middle == pytest.approx(float(row["score"]), abs=1e-6)
        assert float(row["upper"]) - float(row["lower"]) == pytest.approx(1.6)


def test_a_level_that_the_model_cannot_answer_is_refused_and_nothing_is_written(tmp_path):
    table = written(tmp_path / "new.csv", [dict(row) for row in SAMPLE.rows])

    with pytest.raises(InputError, match=r"'interval' is 0\.9, but the model was trained before intervals"):
        score(tmp_path, table, interval=0.9)
    with pytest.raises(InputError, match=r"allow at most 0\.99"):
        score(tmp_path, table, model=calibrated(), interval=0.999)
    assert not list(tmp_path.glob("*o.csv*"))


def test_the_spelling_of_a_boolean_does_not_matter(tmp_path):
    flag = next(name for name, kind in FEATURES.items() if kind == "boolean")
    spelled = {"True": ["Yes", "1", "true", " T "], "False": ["No", "0", "FALSE", "n"]}
    rows = [dict(SAMPLE.rows[0]) | {flag: text} for texts in spelled.values() for text in texts]

    result = score(tmp_path, written(tmp_path / "new.csv", rows))

    scores = [float(row["score"]) for row in read(tmp_path / "o.csv")]
    assert len(set(scores[:4])) == len(set(scores[4:])) == 1
    assert scores[0] != scores[4]
    assert not result.unreadable


def test_values_of_another_type_count_as_missing_and_unknown_categories_are_counted(tmp_path):
    number = next(name for name, kind in FEATURES.items() if kind == "numeric")
    word = MODEL.facts.categorical[0]
    rows = [dict(SAMPLE.rows[0]) | {number: "n/a"}, dict(SAMPLE.rows[0]) | {number: None, word: "never seen"}]

    result = score(tmp_path, written(tmp_path / "new.csv", rows))

    assert result.unreadable == {number: 1}
    assert result.unknown == {word: 1}


def test_the_order_and_number_of_rows_survive_many_batches(tmp_path):
    count = 120_000
    rows = pa.Table.from_pylist([dict(SAMPLE.rows[0])]).take(pa.array([0] * count))
    fees = pa.array([float(i % 97) for i in range(count)])
    rows = rows.set_column(rows.column_names.index("monthly_fee"), "monthly_fee", fees)
    pq.write_table(rows.append_column("n", pa.array(range(count))), tmp_path / "new.parquet")

    result = score(tmp_path, tmp_path / "new.parquet", out="o.parquet")

    scored = pq.read_table(tmp_path / "o.parquet")
    assert result.rows == scored.num_rows == count
    assert scored.column("n").to_pylist() == list(range(count))
    per_fee = scored.group_by("monthly_fee").aggregate([("score", "min"), ("score", "max")])
    assert per_fee.num_rows == 97
    assert max(row["score_max"] - row["score_min"] for row in per_fee.to_pylist()) < 1e-6


def with_view(folder: Path) -> tuple[Project, dict[str, str]]:
    """Return a project with one source, whose view computes every feature, and the types of its training rows."""
    single = project(
        sources={
            "rows": {
                "path": "rows.csv",
                "time": "at",
                "constant_time": "2020-01-01T00:00:00Z",
                "row_number": "customer",
            }
        }
    )
    constants = {name: value for name, value in SAMPLE.rows[0].items() if name not in ("monthly_fee", "paperless")}
    literals = [
        f"{repr(value) if isinstance(value, str) else value} AS {name}" if value is not None else f"NULL AS {name}"
        for name, value in constants.items()
    ]
    (folder / "feature_repo" / "sql").mkdir(parents=True)
    (folder / "feature_repo" / "sql" / "view.sql").write_text(
        f"""-- The features of a note's customer.
        SELECT customer, "at" AS event_timestamp, {", ".join(literals)},
        CASE lower(trim("Paper")) WHEN 'ja' THEN true WHEN 'nein' THEN false END AS paperless, "Fee" AS monthly_fee
        FROM rows;"""
    )
    types = {"Fee": "DOUBLE", "Paper": "VARCHAR", "churned": "VARCHAR", "customer": "BIGINT", "at": "TIMESTAMP"}
    return single, types | {"note": "VARCHAR"}


def test_new_rows_of_the_only_source_go_through_the_sql_of_the_view(tmp_path):
    single, types = with_view(tmp_path)
    fee, paper = SAMPLE.rows[0]["monthly_fee"], SAMPLE.rows[0]["paperless"]
    table = written(tmp_path / "new.csv", [{"Paper": " Ja" if paper else "Nein ", "Fee": f" {fee} "}])

    score(tmp_path, table, single, types)

    # A column that only a comment names, here the note, may be absent.
    [row] = read(tmp_path / "o.csv")
    assert float(row["score"]) == pytest.approx(SAMPLE.scores[0], abs=1e-6)


def test_a_column_that_only_looks_whole_in_the_new_rows_is_read_as_in_training(tmp_path):
    single, types = with_view(tmp_path)
    table = written(tmp_path / "new.csv", [{"Paper": "ja", "Fee": "30"}, {"Paper": "ja", "Fee": "cheap"}])

    assert score(tmp_path, table, single, types).unreadable == {"Fee": 1}


def test_new_rows_are_converted_as_training_rows_were_and_what_cannot_be_is_missing(tmp_path):
    single, types = with_view(tmp_path)
    number = (
        """CASE WHEN regexp_full_match("Fee", '[0-9]+(,[0-9]+)?') THEN CAST(replace("Fee", ',', '.') AS DOUBLE) END"""
    )
    [source] = single.sources.values()
    converted = source.model_copy(update={"convert": {"Fee": number}, "null_values": ("?",)})
    single = single.model_copy(update={"sources": {"rows": converted}})
    fee, paper = SAMPLE.rows[0]["monthly_fee"], "ja" if SAMPLE.rows[0]["paperless"] else "nein"
    fees = [f" {fee} ".replace(".", ","), "1.5", "?"]
    table = written(tmp_path / "new.csv", [{"Paper": paper, "Fee": text} for text in fees])

    result = score(tmp_path, table, single, types)
    as_numbers = pa.table({"Paper": [paper] * 3, "Fee": [float(fee), None, None]})
    pq.write_table(as_numbers, tmp_path / "new.parquet")
    score(tmp_path, tmp_path / "new.parquet", single, types, "p.csv")

    assert result.unreadable == {"Fee": 1}
    scores = [row["score"] for row in read(tmp_path / "o.csv")]
    assert float(scores[0]) == pytest.approx(SAMPLE.scores[0], abs=1e-6)
    assert scores[1] == scores[2] != scores[0]
    assert scores == [row["score"] for row in read(tmp_path / "p.csv")]


def test_a_malformed_row_is_told_with_its_line(tmp_path):
    single, types = with_view(tmp_path)
    (tmp_path / "new.csv").write_text("Paper,Fee\nja,2\nja,2,3\n")

    with pytest.raises(InputError, match=r"line 3 is malformed \(Expected Number of Columns: 2 Found: 3"):
        score(tmp_path, tmp_path / "new.csv", single, types)


def test_a_column_that_features_need_is_named_when_it_is_absent_and_nothing_is_written(tmp_path):
    single, types = with_view(tmp_path)
    (tmp_path / "o.csv").write_text("before")
    table = written(tmp_path / "new.csv", [{"Paper": "ja", "Note": "a"}])

    with pytest.raises(InputError, match=r"new.csv lacks the columns \['Fee'\], which view.sql computes features from"):
        score(tmp_path, table, single, types)

    assert (tmp_path / "o.csv").read_text() == "before"
    with pytest.raises(InputError, match="lacks the features"):
        score(tmp_path, table)


def test_a_failure_in_the_middle_leaves_the_former_output_alone(tmp_path):
    (tmp_path / "o.csv").write_text("before")
    table = written(tmp_path / "new.csv", [dict(row) for row in SAMPLE.rows])
    (tmp_path / "work").mkdir()

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    opened = new_rows.open_table(project(), tmp_path, FEATURES, table, None, tmp_path / "work")
    with opened as rows, pytest.raises(KeyboardInterrupt):
        scored_table.write(MODEL, "3", rows, tmp_path / "o.csv", interrupted)

    assert (tmp_path / "o.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.glob("*o.csv*")) == ["o.csv"]


@pytest.mark.parametrize(("out", "sentence"), [("o.txt", "ends with '.txt'"), ("nowhere/o.csv", "does not exist")])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_scored(tmp_path, out, sentence):
    with pytest.raises(InputError, match=sentence):
        scored_table.check_output(tmp_path / out)


def test_scores_of_an_earlier_time_are_replaced_and_not_taken_for_features(tmp_path):
    first = written(tmp_path / "new.csv", [dict(row) | {"score": 0.5} for row in SAMPLE.rows])

    result = score(tmp_path, first)

    assert result.replaced == ("score",)
    assert list(read(tmp_path / "o.csv")[0])[-3:] == ["score", "decision", "model_version"]
