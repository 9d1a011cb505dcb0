"""What is wrong with a snapshot is found, called by its kind, and stops a run only where the project file says so."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data_validation import anomalies, logic
from components.data_validation.backends import open_backend
from components.data_validation.exact import Table
from components.shared.documents.findings import Finding, ValidationFindings
from components.shared.errors import DataBlocked, InputError
from components.shared.project import ValidationLibrary
from components.shared.tfdv import schema
from tests.components import made_table
from tests.components.validation_case import SCHEMA, Case, describe, described_types, kinds, swap, table


@pytest.fixture
def case(tmp_path: Path, backend: ValidationLibrary) -> Case:
    return Case(tmp_path, backend=backend)


def test_a_table_as_the_schema_says_gives_no_finding(case: Case) -> None:
    assert case.validate(table()) == []
    assert ValidationFindings.read(case.folder / "statistics").blocked is False


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("plan", ["basic"] * 1999 + ["gold"], "gold"),
        ("use", [5000.0] + [1.0] * 1999, "5000"),
        ("use", [None] * 1200 + [float(n % 900) for n in range(800)], "fraction"),
        ("plan", [n % 2 for n in range(2000)], "INT"),
        ("y", [n % 3 for n in range(2000)], "2"),
    ],
    ids=["new category", "out of range", "too many missing", "changed type", "third class"],
)
def test_a_break_of_the_schema_blocks(case: Case, name: str, values: list[Any], said: str) -> None:
    findings = case.validate(swap(table(), name, values))

    assert (name, "schema_anomalies", "block") in kinds(findings)
    assert said in findings[0].sentence
    assert "feature_repo/schema/table.pbtxt" in findings[0].sentence


def test_an_absent_and_an_unknown_column_block(case: Case) -> None:
    renamed = table().rename_columns(["id", "at", "plan", "usage", "paid", "y"])

    assert kinds(case.validate(renamed)) == [
        ("usage", "schema_anomalies", "block"),
        ("use", "schema_anomalies", "block"),
    ]


def test_the_label_may_be_absent_when_serving_and_not_when_training(tmp_path: Path, backend: ValidationLibrary) -> None:
    library, reviewed = open_backend(backend), schema.parse(SCHEMA, "schema")
    described = describe(library, table().drop(["y"]), tmp_path, schema.types(reviewed))
    in_training = anomalies.find(library, described, reviewed, "table", environment=schema.TRAINING)

    assert [each.column for each in in_training] == ["y"]
    assert anomalies.find(library, described, reviewed, "table", environment=schema.SERVING) == []


def test_whole_numbers_in_a_batch_of_fractions_are_no_change_of_type(case: Case) -> None:
    assert case.validate(swap(table(), "use", [n % 100 for n in range(2000)])) == []


def test_infinite_numbers_block(case: Case) -> None:
    findings = case.validate(swap(table(), "use", [float("inf")] * 3 + [float(n % 99) for n in range(1997)]))

    assert any("infinite in 3 rows" in each.sentence and each.reaction == "block" for each in findings)


def test_drift_against_the_accepted_snapshot_warns(case: Case) -> None:
    case.validate(table())
    case.accept()
    drifted = swap(swap(table(seed=2), "plan", ["basic"] * 1800 + ["plus"] * 200), "use", [n / 2 for n in range(2000)])

    assert kinds(case.validate(drifted)) == [("plan", "drift", "warn"), ("use", "drift", "warn")]


def test_another_sample_of_the_same_population_is_no_drift(case: Case) -> None:
    case.validate(table())
    case.accept()

    assert case.validate(table(seed=3)) == []


def test_a_comparison_written_into_the_schema_wins_over_the_threshold(
    tmp_path: Path, backend: ValidationLibrary
) -> None:
    strict = SCHEMA.replace(
        'name: "use" type: FLOAT',
        'name: "use" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.0001 } }',
    )
    case = Case(tmp_path, strict, drift="block", backend=backend)
    case.validate(table())
    case.accept()

    assert kinds(case.validate(table(seed=3))) == [("use", "drift", "block")]


def test_what_ingestion_left_out_is_a_warning(case: Case) -> None:
    case.left_out = {"repeated_headers": 2, "unconverted": {"use": 3}}
    findings = case.validate(table())

    assert kinds(findings) == [(None, "unreadable", "warn"), ("use", "unreadable", "warn")]
    assert findings[0].sentence.startswith("2 rows repeat the header and are left out")
    assert findings[1].sentence.startswith("3 values of 'use' can't be read by its 'convert'")


def test_repeated_rows_and_columns_are_found_exactly(case: Case, tmp_path: Path, backend: ValidationLibrary) -> None:
    rows = table(300)
    twice = pa.concat_tables([rows, rows.slice(0, 7)])
    findings = case.validate(twice)

    assert kinds(findings) == [(None, "duplicates", "warn")]
    assert "7 of 307 rows" in findings[0].sentence
    copied = Case(tmp_path / "copied", SCHEMA + 'feature { name: "again" type: FLOAT }', backend=backend)
    assert kinds(copied.validate(rows.append_column("again", rows["use"]))) == [("again", "duplicates", "warn")]
    almost = [*rows["use"].to_pylist()[:-1], 0.5]
    assert copied.validate(rows.append_column("again", pa.array(almost))) == []


def test_a_file_without_column_statistics_has_the_same_figures(tmp_path: Path) -> None:
    rows = swap(table(), "use", [None, float("inf"), *table()["use"].to_pylist()[2:]])
    figures = []
    for statistics_ in (True, False):
        path = tmp_path / f"{statistics_}.parquet"
        pq.write_table(rows, path, write_statistics=statistics_)
        figures.append(Table(path, described_types(rows)).measure([]))

    assert figures[0] == figures[1]
    assert figures[0].columns["use"].infinite == 1


def test_a_constant_column_warns_and_one_with_gaps_is_none(case: Case) -> None:
    assert kinds(case.validate(swap(table(), "use", [1.0] * 2000))) == [("use", "constant_columns", "warn")]
    assert case.validate(swap(table(), "use", [1.0, None] * 1000)) == []


@pytest.mark.parametrize(("rows", "kind"), [(99, "batch_size"), (100, None), (300, None), (301, "batch_size")])
def test_a_batch_outside_its_plausible_size_blocks(
    tmp_path: Path, rows: int, kind: str | None, backend: ValidationLibrary
) -> None:
    findings = Case(tmp_path, source={"rows_min": 100, "rows_max": 300}, backend=backend).validate(table(rows))

    assert [each.kind for each in findings] == ([kind] if kind else [])


def test_missing_values_in_one_segment_only_are_found(tmp_path: Path, backend: ValidationLibrary) -> None:
    case = Case(tmp_path, segment_columns={"table": ["plan"]}, backend=backend)
    rows = table()
    plus = [
        None if plan == "plus" else use
        for plan, use in zip(rows["plan"].to_pylist(), rows["use"].to_pylist(), strict=True)
    ]
    everywhere = [None if n % 2 else use for n, use in enumerate(rows["use"].to_pylist())]
    found = [each for each in case.validate(swap(rows, "use", plus)) if each.kind == "segments"]

    assert kinds(found) == [("use", "segments", "block")]
    assert "'plan' is 'plus'" in found[0].sentence
    assert [each for each in case.validate(swap(rows, "use", everywhere)) if each.kind == "segments"] == []


def test_a_small_segment_is_not_blamed_for_chance(tmp_path: Path, backend: ValidationLibrary) -> None:
    case = Case(tmp_path, segment_columns={"table": ["plan"]}, segment_missing_max=0.01, backend=backend)
    plans = ["plus" if n % 30 == 0 else "basic" for n in range(2000)]
    uses: list[float | None] = [float(n % 97) for n in range(2000)]
    for n in [*range(0, 300, 30), *range(1, 2000, 11)]:
        uses[n] = None
    found = case.validate(swap(swap(table(), "plan", plans), "use", uses))

    # 15 of 67 values are missing in the segment, 9 % of the others; nine more are no chance any more.
    assert [each.kind for each in found] == []
    for n in range(300, 600, 30):
        uses[n] = None
    assert [each.kind for each in case.validate(swap(swap(table(), "plan", plans), "use", uses))] == ["segments"]


@pytest.mark.parametrize(("reaction", "stops"), [("block", True), ("warn", False), ("ignore", False)])
def test_the_project_file_decides_what_stops_a_run(
    tmp_path: Path, reaction: str, stops: bool, backend: ValidationLibrary
) -> None:
    case = Case(tmp_path, schema_anomalies=reaction, backend=backend)
    findings = case.validate(swap(table(), "plan", ["gold"] * 2000))

    assert [each.reaction for each in findings if each.kind == "schema_anomalies"] == [reaction] * (
        reaction != "ignore"
    )
    assert ValidationFindings.read(case.folder / "statistics").blocked is stops
    if stops:
        with pytest.raises(DataBlocked, match="source 'table': 'plan' violates the schema"):
            logic.stop_if_blocked(findings)
    else:
        logic.stop_if_blocked(findings)


def test_a_blocked_run_names_three_reasons_in_one_sentence_and_counts_the_others(tmp_path: Path) -> None:
    findings = [
        Finding(source="table", column=f"c{n}", kind="schema_anomalies", reaction="block", sentence=f"'c{n}' is wrong.")
        for n in range(5)
    ]
    with pytest.raises(DataBlocked) as caught:
        logic.stop_if_blocked(findings)

    assert "'c2' is wrong; and 2 more" in str(caught.value)
    assert "c3" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_wrong_value_in_a_table_of_300_000_rows_is_noticed(case: Case) -> None:
    big = table(300_000)
    plans = big["plan"].to_pylist()
    plans[123_456] = "gold"
    found = case.validate(swap(swap(big, "plan", plans), "use", [2000.0, *big["use"].to_pylist()[1:]]))

    assert ("plan", "schema_anomalies", "block") in kinds(found)
    assert ("use", "schema_anomalies", "block") in kinds(found)


def test_a_table_without_a_schema_gets_a_guess_to_review(tmp_path: Path, backend: ValidationLibrary) -> None:
    case = Case(tmp_path, None, backend=backend)
    case.validate(table())
    guessed = schema.parse((tmp_path / "statistics" / "table.pbtxt").read_text(), "guess")

    assert schema.types(guessed) == schema.types(schema.parse(SCHEMA, "schema"))


def test_a_schema_that_does_not_parse_is_bad_input_with_a_line(tmp_path: Path, backend: ValidationLibrary) -> None:
    with pytest.raises(
        InputError, match=r"feature_repo/schema/table.pbtxt is not a valid TensorFlow Metadata schema .*3:11"
    ):
        Case(tmp_path, "\n\nfeature { nam: 1 }", backend=backend).validate(table())


def test_the_report_opens_offline_and_escapes_what_the_data_says(case: Case) -> None:
    case.validate(swap(table(), "plan", ["<script>alert(1)</script>", "http://example.com"] * 1000))
    html = (case.folder / "report.html").read_text()

    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", html)
    assert "The data failed validation; the run is blocked." in html


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, seed: int, backend: ValidationLibrary
) -> None:
    rows = pa.concat_tables([swap(table(300), "plan", ["basic", "plus", "gold"] * 100), table(300).slice(0, 2)])
    order = np.random.default_rng(seed).permutation(len(rows))
    first = Case(tmp_path_factory.mktemp("first"), backend=backend).validate(rows)
    second = Case(tmp_path_factory.mktemp("second"), backend=backend).validate(rows.take(pa.array(order)))

    assert first == second
    assert len(first) > 0


def test_the_schema_that_init_writes_is_understood_and_its_table_is_clean(
    tmp_path: Path, backend: ValidationLibrary
) -> None:
    case = Case(
        tmp_path, made_table.GOLDEN.read_text(), duplicates="ignore", constant_columns="ignore", backend=backend
    )
    columns = made_table.columns()
    rows = pa.table(
        {
            name: pa.array(values, pa.string() if values[0] is None and name == "nothing" else None)
            for name, values in columns.items()
        }
        | {"row_number": range(1, made_table.ROWS + 1), "event_time": [datetime(2020, 1, 1)] * made_table.ROWS}
    )

    assert case.validate(rows) == []
    assert kinds(case.validate(swap(rows, "member", ["maybe"] * made_table.ROWS))) == [
        ("member", "schema_anomalies", "block")
    ]
