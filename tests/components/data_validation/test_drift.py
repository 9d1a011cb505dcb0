"""The newest rows are compared with the last accepted snapshot, and what changed is a finding with its test."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.documents.findings import DriftEvidence, Finding, ValidationFindings
from tests.components.validation_case import SCHEMA, Case, kinds, swap, table

ROWS = 2400
NEW = 400


@pytest.fixture
def accepted(tmp_path: Path) -> Case:
    """A project that accepted a table of 2,400 rows, one per hour."""
    case = Case(tmp_path)
    assert case.validate(dependent(ROWS)) == []
    case.accept()
    return case


def dependent(rows: int) -> pa.Table:
    """Make rows whose label depends on 'use'; fewer rows are the first of more rows."""
    content = table(rows, seed=1)
    random = np.random.default_rng(9).random((4, 10_000))[:, :rows]
    use = -30 * np.log(random[0])
    content = swap(swap(content, "use", use), "plan", np.where(random[1] < 0.5, "basic", "plus").tolist())
    content = swap(content, "paid", random[2] < 0.5)
    return swap(content, "y", (random[3] < 1 / (1 + np.exp(1.5 - use / 30))).astype(int))


def newest(content: pa.Table, name: str, change: Any) -> pa.Table:
    """Change the values of a column in the rows after the first 2,400."""
    values = content[name].to_pylist()
    return swap(content, name, values[:ROWS] + [change(row, values[row]) for row in range(ROWS, len(values))])


def evidence(findings: list[Finding]) -> DriftEvidence:
    assert len(findings) == 1, [finding.sentence for finding in findings]
    assert findings[0].drift is not None
    return findings[0].drift


def test_a_harmless_repeat_is_no_drift(accepted: Case) -> None:
    assert accepted.validate(dependent(ROWS + NEW)) == []
    compared = ValidationFindings.read(accepted.folder / "statistics").comparisons
    assert compared == {"table": "400 sampled rows newer than the last accepted snapshot."}


def test_values_that_double_in_the_newest_rows_of_a_growing_table_are_found(accepted: Case) -> None:
    findings = accepted.validate(newest(dependent(ROWS + NEW), "use", lambda _, use: 2 * use))

    assert ("use", "drift", "warn") in kinds(findings)
    found = evidence([each for each in findings if each.drift and each.drift.signal == "input drift"])
    assert found.statistic == "normed Wasserstein distance"
    assert found.value > found.threshold >= 0.1
    assert not found.is_within_snapshot
    assert (found.current.rows, found.current.start) == (NEW, "2024-04-10T00:00:00+00:00")
    assert found.reference.end == "2024-04-09T23:00:00+00:00"
    sentence = next(each.sentence for each in findings if each.drift is found)
    assert re.search(r"the mean rose from [23]\d\.\d+ to [56]\d\.\d+, the median rose from", sentence)
    assert "400 rows from 2024-04-10 to 2024-04-26" in sentence
    html = (accepted.folder / "report.html").read_text()
    assert "<td>input drift</td>" in html
    assert "2024-04-10 to 2024-04-26" in html
    assert "Compared for drift: 400 sampled rows newer than the last accepted snapshot." in html


def test_a_category_whose_share_changes_is_found_and_named(accepted: Case) -> None:
    content = newest(dependent(ROWS + NEW), "plan", lambda row, _: "basic" if row % 5 else "plus")
    found = evidence(accepted.validate(content))

    assert found.statistic == "Jensen-Shannon distance"
    assert "the share of 'basic' went from 5" in found.effect
    assert "to 80.0%" in found.effect


def test_a_number_with_a_few_values_is_compared_as_a_category(tmp_path: Path) -> None:
    case = Case(tmp_path, SCHEMA + 'feature { name: "grade" type: INT }')
    grades = np.random.default_rng(8).integers(1, 6, ROWS + NEW)
    case.validate(dependent(ROWS).append_column("grade", pa.array(grades[:ROWS])))
    case.accept()
    content = dependent(ROWS + NEW).append_column("grade", pa.array(np.where(np.arange(ROWS + NEW) < ROWS, grades, 5)))
    found = evidence(case.validate(content))

    assert found.statistic == "Jensen-Shannon distance"
    assert re.fullmatch(r"the share of '5' went from [12]\d\.\d% to 100\.0%", found.effect)


def test_values_that_go_missing_are_found(accepted: Case) -> None:
    content = newest(dependent(ROWS + NEW), "use", lambda row, use: None if row % 4 == 0 else use)

    assert evidence(accepted.validate(content)).effect == "the share of missing values went from 0.0% to 25.0%"


def test_more_positive_labels_are_a_label_shift(accepted: Case) -> None:
    content = dependent(ROWS + 3 * NEW)
    keep = np.array([row < ROWS or y == 1 or row % 3 == 0 for row, y in enumerate(content["y"].to_pylist())])
    signals = [each.drift.signal for each in accepted.validate(content.filter(pa.array(keep))) if each.drift]

    assert "label shift" in signals
    assert "changed relation" not in signals


def test_a_label_that_depends_on_an_input_the_other_way_round_is_a_changed_relation(accepted: Case) -> None:
    content = dependent(ROWS + 3 * NEW)
    uses = content["use"].to_pylist()
    random = np.random.default_rng(4).random(len(uses))
    content = newest(content, "y", lambda row, _: int(random[row] < 1 / (1 + np.exp(uses[row] / 30 - 0.5))))
    found = [each for each in accepted.validate(content) if each.drift and each.drift.signal == "changed relation"]

    assert [each.column for each in found] == ["use"]
    assert "the share of 'y' = '1' went from " in found[0].sentence


def test_labels_that_are_not_all_known_yet_are_not_compared(tmp_path: Path) -> None:
    # Positive labels are known at once, negative ones only after the delay of 30 days.
    case = Case(tmp_path, SCHEMA.replace('"SERVING" presence { min_fraction: 1.0 }', '"SERVING"'), delay_days=30)

    def known(rows: int) -> pa.Table:
        content = dependent(rows)
        labels = [y if y or row < rows - 30 * 24 else None for row, y in enumerate(content["y"].to_pylist())]
        return swap(content, "y", labels)

    case.validate(known(ROWS))
    case.accept()
    assert case.validate(known(ROWS + 3 * NEW)) == []


def test_a_few_new_rows_are_not_compared_and_the_findings_say_so(accepted: Case) -> None:
    assert accepted.validate(newest(dependent(ROWS + 10), "use", lambda *_: 900.0)) == []
    compared = ValidationFindings.read(accepted.folder / "statistics").comparisons
    assert compared == {"table": "10 new rows are too few for a comparison; at least 50 are needed."}


def test_a_first_run_compares_the_newest_rows_with_the_earlier_ones_and_never_blocks(tmp_path: Path) -> None:
    case = Case(tmp_path, drift="block")
    findings = case.validate(newest(dependent(ROWS + NEW), "use", lambda _, use: use + 60))

    assert ("use", "drift", "warn") in kinds(findings)
    assert all(each.drift is not None and each.drift.is_within_snapshot for each in findings)
    assert "differs from that of the earlier rows" in findings[0].sentence


def test_drift_from_an_accepted_snapshot_blocks_where_the_project_file_says_so(tmp_path: Path) -> None:
    case = Case(tmp_path, drift="block")
    case.validate(dependent(ROWS))
    case.accept()

    assert {each.reaction for each in case.validate(newest(dependent(ROWS + NEW), "use", lambda *_: 900.0))} == {
        "block"
    }


def test_what_earlier_periods_did_as_well_is_no_drift(tmp_path: Path) -> None:
    case = Case(tmp_path)

    def seasonal(rows: int) -> pa.Table:
        content = dependent(rows)
        # Every second period of 400 hours has higher values.
        uses = [use + 40 * (row // NEW % 2) for row, use in enumerate(content["use"].to_pylist())]
        return swap(content, "use", uses)

    case.validate(seasonal(ROWS))
    case.accept()
    assert [each for each in case.validate(seasonal(ROWS + NEW)) if each.drift] == []


def test_a_correlation_that_earlier_periods_reversed_as_well_is_no_drift(tmp_path: Path) -> None:
    cases = {name: Case(tmp_path / name, SCHEMA + 'feature { name: "talk" type: FLOAT }') for name in ("often", "once")}

    def signals(name: str, rows: int) -> list[str]:
        content = dependent(rows)
        noise = np.random.default_rng(6).random(10_000)
        signs = [-1 if name == "often" and row // NEW % 2 else 1 for row in range(rows)]
        signs = signs[:ROWS] + [-1] * (rows - ROWS)
        talk = [s * use + 10 * e for s, use, e in zip(signs, content["use"].to_pylist(), noise, strict=False)]
        # The same values in another order: the distribution of the column does not change.
        order = np.argsort(np.argsort(talk[ROWS:])) if rows > ROWS else np.array([], int)
        talk[ROWS:] = np.sort(np.array(talk)[:ROWS])[:: ROWS // max(1, rows - ROWS)][order].tolist()
        findings = cases[name].validate(content.append_column("talk", pa.array(talk)))
        return [each.drift.effect for each in findings if each.drift and "correlation" in each.drift.effect]

    for name, case in cases.items():
        signals(name, ROWS)
        case.accept()
    assert signals("often", ROWS + NEW) == []
    assert len(signals("once", ROWS + NEW)) == 1


def test_a_run_that_is_repeated_on_accepted_rows_warns_again(tmp_path: Path) -> None:
    changed = newest(dependent(ROWS + NEW), "use", lambda _, use: use + 60)
    case = Case(tmp_path)
    case.validate(changed)
    case.accept()
    found = [each.drift for each in case.validate(changed) if each.drift and each.column == "use"]

    assert [each.is_within_snapshot for each in found if each.signal == "input drift"] == [True]


def test_a_table_that_holds_only_new_rows_is_compared(accepted: Case) -> None:
    content = newest(dependent(ROWS + NEW), "plan", lambda *_: "plus").slice(ROWS)

    assert ("plan", "drift", "warn") in kinds(accepted.validate(content))


def test_rows_without_a_time_are_compared_by_their_number(tmp_path: Path) -> None:
    schema = SCHEMA + 'feature { name: "number" type: INT }'
    case = Case(
        tmp_path, schema, source={"row_number": "number", "time": "at", "constant_time": "2024-01-01T00:00:00Z"}
    )

    def numbered(content: pa.Table) -> pa.Table:
        at = pa.array([datetime(2024, 1, 1)] * len(content), pa.timestamp("us"))
        return swap(content, "at", at).append_column("number", pa.array(range(1, len(content) + 1)))

    assert case.validate(numbered(dependent(ROWS))) == []
    case.accept()
    assert case.validate(numbered(dependent(ROWS + NEW))) == []
    changed = newest(dependent(ROWS + NEW), "plan", lambda *_: "plus")
    found = evidence([each for each in case.validate(numbered(changed)) if each.column == "plan"])
    assert (found.current.rows, found.current.start) == (NEW, None)


def test_the_sample_of_a_snapshot_is_small_and_names_no_entity(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.validate(table(30_000))
    stored = pq.read_table(tmp_path / "statistics" / "table.sample.parquet")

    assert set(stored.column_names) == {"perennial.time", "plan", "use", "paid", "y"}
    assert 9_000 < len(stored) < 11_000


@pytest.mark.parametrize("empty", ["accepted", "new"])
def test_a_column_without_any_value_on_one_side_is_compared_by_its_missing_values(tmp_path: Path, empty: str) -> None:
    case = Case(tmp_path, schema_anomalies="ignore", constant_columns="ignore")
    nothing = swap(dependent(ROWS), "use", pa.nulls(ROWS, pa.float64())) if empty == "accepted" else dependent(ROWS)
    case.validate(nothing)
    case.accept()
    content = dependent(ROWS + NEW)
    findings = case.validate(newest(content, "use", lambda *_: None) if empty == "new" else content)

    assert [each.drift.effect for each in findings if each.drift and each.drift.signal == "input drift"] == [
        f"the share of missing values went from {'100.0% to 0.0%' if empty == 'accepted' else '0.0% to 100.0%'}"
    ]


def test_a_renamed_column_and_a_number_that_became_text_are_left_to_the_schema(accepted: Case) -> None:
    content = dependent(ROWS + NEW)
    texts = swap(content, "use", [str(use) for use in content["use"].to_pylist()])

    assert {each.kind for each in accepted.validate(texts)} == {"schema_anomalies"}
    renamed = content.rename_columns(["id", "at", "tariff", "use", "paid", "y"])
    assert {each.kind for each in accepted.validate(renamed)} == {"schema_anomalies"}


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_a_table_of_a_few_rows_is_validated_without_a_comparison(tmp_path: Path, rows: int) -> None:
    case = Case(tmp_path, schema_anomalies="ignore", constant_columns="ignore", source={"rows_min": 11})

    for _ in ("first", "accepted"):
        assert kinds(case.validate(dependent(rows))) == [(None, "batch_size", "block")]
        if not (tmp_path / "accepted" / "statistics").exists():
            case.accept()


def test_rows_without_any_time_are_compared_as_a_whole(tmp_path: Path) -> None:
    case = Case(tmp_path, schema_anomalies="ignore", constant_columns="ignore")
    nothing = pa.nulls(ROWS, pa.timestamp("us"))
    case.validate(swap(dependent(ROWS), "at", nothing))
    case.accept()
    changed = swap(swap(dependent(ROWS), "at", nothing), "plan", ["basic"] * ROWS)

    assert [each.column for each in case.validate(changed) if each.drift and each.drift.signal == "input drift"] == [
        "plan"
    ]


def test_a_running_number_is_no_drift(tmp_path: Path) -> None:
    case = Case(tmp_path, SCHEMA + 'feature { name: "invoice" type: INT }')
    case.validate(dependent(ROWS).append_column("invoice", pa.array(range(ROWS))))
    case.accept()
    rows = ROWS + NEW

    assert case.validate(dependent(rows).append_column("invoice", pa.array(range(rows)))) == []


def test_rows_in_another_order_in_the_file_give_the_same_sample(tmp_path: Path) -> None:
    first, second = Case(tmp_path / "first"), Case(tmp_path / "second")
    rows = table(12_000)
    first.validate(rows)
    second.validate(rows.take(pa.array(np.random.default_rng(3).permutation(len(rows)))))

    stored = [pq.read_table(case.folder / "statistics" / "table.sample.parquet") for case in (first, second)]
    assert stored[0].equals(stored[1])


def test_times_are_compared_in_utc() -> None:
    from components.data_validation.periods import moment

    assert moment(int(timedelta(days=19_000).total_seconds()) * 1_000_000) == "2022-01-08T00:00:00+00:00"


def test_the_label_is_compared_with_what_other_sources_knew_at_its_time(tmp_path: Path) -> None:
    """The label's table has no inputs; they change every 500 hours, and are known from then on."""
    rows = ROWS + 3 * NEW
    start = datetime(2024, 1, 1)
    random = np.random.default_rng(5)
    states = random.integers(0, 2, size=(40, rows // 500 + 1))
    entity = random.integers(0, 40, rows)
    state = states[entity, np.arange(rows) // 500]
    turned = np.arange(rows) >= ROWS
    labels = pa.table(
        {
            "id": [f"c{number}" for number in entity],
            "at": pa.array([start + timedelta(hours=row, minutes=1) for row in range(rows)], pa.timestamp("us")),
            "y": (random.random(rows) < np.where((state == 1) ^ turned, 0.4, 0.1)).astype(int),
        }
    )
    known = pa.table(
        {
            "id": [f"c{number}" for number in range(40) for _ in states[0]],
            "at": pa.array(
                [start + timedelta(hours=500 * part) for _ in range(40) for part in range(len(states[0]))],
                pa.timestamp("us"),
            ),
            "state": np.where(states == 1, "high", "low").ravel(),
        }
    )
    sources = {"table": {"path": "table.csv", "time": "at"}, "other": {"path": "other.csv", "time": "at"}}
    case = Case(tmp_path, None, sources=sources, duplicates="ignore")
    case.validate(labels.slice(0, ROWS), other=known)
    case.accept()
    findings = [each for each in case.validate(labels, other=known) if each.drift]

    assert [(each.source, each.column, each.drift.signal) for each in findings if each.drift] == [
        ("table", "other.state", "changed relation")
    ]
    assert "where it is 'high', and from 1" in findings[0].sentence
