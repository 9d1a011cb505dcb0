"""Both backends give the same violations, schemas and figures for the same table, and read each other's statistics."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

from components.data_validation.backends import open_backend
from components.shared.documents.findings import ValidationFindings
from components.shared.tfdv import schema
from tests.components.validation_case import Case, describe, kinds, swap, table

TFDV, DUCKDB = open_backend("tfdv"), open_backend("duckdb")
NAMES = ("a", "b", "c.d")
# The same examples every time: TFDV's histograms are approximate, so a distance next to its threshold may differ.
FEW = settings(
    max_examples=15, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values(kind: str) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    """Return the type of a column of some kind, and its values."""
    start = datetime(2024, 1, 1)
    return {
        "numbers": (pa.float64(), st.floats(-1e6, 1e6)),
        "flags as numbers": (pa.float64(), st.sampled_from([0.0, 1.0])),
        "integers": (pa.int64(), st.integers(-5, 5)),
        "flags as integers": (pa.int64(), st.integers(0, 1)),
        "truth values": (pa.bool_(), st.booleans()),
        "times": (pa.timestamp("us"), st.integers(0, 99).map(lambda hours: start + timedelta(hours=hours))),
        "texts": (pa.string(), st.sampled_from("abcde")),
        "any texts": (pa.string(), st.text(max_size=3)),
        "integers as texts": (pa.string(), st.integers(-3, 3).map(str)),
        "flags as texts": (pa.string(), st.sampled_from(["true", "false"])),
    }[kind]


KINDS = (
    "numbers", "flags as numbers", "integers", "flags as integers", "truth values", "times", "texts", "any texts",
    "integers as texts", "flags as texts",
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Draw a table of a few rows with some of the columns."""
    rows = draw(st.integers(1, 30))
    columns = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        type_, some = values(draw(st.sampled_from(KINDS)))
        cell = draw(st.sampled_from([some, st.none() | some, st.none()]))
        columns[name] = pa.array(draw(st.lists(cell, min_size=rows, max_size=rows)), type_)
    return pa.table(columns)


DOMAINS = (
    "", 'domain: "shared"', 'domain: "absent"', 'string_domain { value: "a" value: "b" value: "c" }', "bool_domain {}",
    'bool_domain { true_value: "true" false_value: "false" }', "int_domain { min: 0 max: 2 }", "int_domain {}",
    "float_domain { min: 0 max: 100 }", "float_domain { max: 0.1 }",
    "time_domain { integer_format: UNIX_MICROSECONDS }",
)  # fmt: skip
RULES = (
    "presence { min_fraction: 0.5 }", "presence { min_fraction: 1.0 min_count: 1 }", "presence { min_count: 20 }",
    "value_count { min: 1 max: 1 }", "value_count { min: 2 }", "value_count { max: 0 }", "shape { dim { size: 1 } }",
    "distribution_constraints { min_domain_mass: 0.7 }", "unique_constraints { min: 2 max: 3 }",
    "lifecycle_stage: ALPHA", 'not_in_environment: "TRAINING"', 'in_environment: "TRAINING"',
    "presence { min_fraction: 1.5 }",
    "drift_comparator { infinity_norm { threshold: 0.3 } }",
    "skew_comparator { normalized_abs_difference { threshold: 0.1 } }",
)  # fmt: skip


def _field(rule: str) -> str:
    """Return what a feature can have once: both of these are its one type of shape."""
    return rule.split()[0].replace("value_count", "shape")


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """Draw a schema with a rule of each sort at most once for a column."""
    lines = ['default_environment: "TRAINING"'] if draw(st.booleans()) else []
    lines.append(draw(st.sampled_from(["", "dataset_constraints { min_examples_count: 10 }"])))
    lines.append('string_domain { name: "shared" value: "a" value: "b" }')
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        rules = draw(st.lists(st.sampled_from(RULES), max_size=4, unique_by=_field))
        type_ = draw(st.sampled_from(["type: INT", "type: FLOAT", "type: BYTES", ""]))
        lines.append(f'feature {{ name: "{name}" {type_} {draw(st.sampled_from(DOMAINS))} {" ".join(rules)} }}')
    return schema.parse("\n".join(lines), "schema")


def violations(backend: Any, now: Any, reviewed: Any, before: Any) -> set[tuple[str | None, str]]:
    environment = schema.TRAINING if schema.TRAINING in reviewed.default_environment else None
    return {(each.column, each.type) for each in backend.violations(now, reviewed, before, environment)}


@FEW
@given(now=tables(), before=tables() | st.none(), reviewed=schemas())
def test_a_table_violates_a_schema_in_the_same_ways(
    tmp_path: Path, now: pa.Table, before: pa.Table | None, reviewed: Any
) -> None:
    expected = schema.types(reviewed)
    sides = {
        backend: [each if each is None else describe(backend, each, tmp_path, expected) for each in (now, before)]
        for backend in (TFDV, DUCKDB)
    }
    by_tfdv = violations(TFDV, sides[TFDV][0], reviewed, sides[TFDV][1])

    assert violations(DUCKDB, sides[DUCKDB][0], reviewed, sides[DUCKDB][1]) == by_tfdv
    # A project that changes its backend keeps what was accepted.
    assert violations(DUCKDB, sides[DUCKDB][0], reviewed, sides[TFDV][1]) == by_tfdv
    assert violations(TFDV, sides[TFDV][0], reviewed, sides[DUCKDB][1]) == by_tfdv


def comparable(inferred: Any) -> Iterator[str]:
    """Write an inferred schema; only the names of shared domains may differ."""
    domains = {each.name: sorted(each.value) for each in inferred.string_domain}
    for feature in sorted(inferred.feature, key=lambda each: str(each.name)):
        shared = domains.get(feature.domain)
        if shared is not None:
            feature.ClearField("domain")
        yield f"{text_format.MessageToString(feature)} {shared}"


@FEW
@given(rows=tables())
def test_the_same_schema_is_inferred_and_the_table_conforms_to_it(tmp_path: Path, rows: pa.Table) -> None:
    inferred = []
    for backend in (TFDV, DUCKDB):
        described = describe(backend, rows, tmp_path, {})
        inferred.append(backend.infer(described))
        assert list(backend.violations(described, inferred[-1], described, None)) == []

    ours, theirs = (list(comparable(schema_pb2.Schema.FromString(each.SerializeToString()))) for each in inferred)
    assert ours == theirs


@FEW
@given(rows=tables())
def test_the_same_figures_are_in_the_report(tmp_path: Path, rows: pa.Table) -> None:
    columns = []
    for backend in (TFDV, DUCKDB):
        features = describe(backend, rows, tmp_path, {}).datasets[0].features
        columns.append({each.path.step[0]: each for each in features})

    for name, theirs in columns[0].items():
        ours = columns[1][name]
        assert (ours.type, ours.HasField("num_stats")) == (theirs.type, theirs.HasField("num_stats"))
        figures = ("mean", "std_dev", "min", "max", "num_zeros")
        expected = [getattr(theirs.num_stats, figure) for figure in figures]
        assert [getattr(ours.num_stats, figure) for figure in figures] == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert ours.string_stats.unique == theirs.string_stats.unique
        top = ([(each.value, each.frequency) for each in side.string_stats.top_values] for side in (ours, theirs))
        assert next(top) == next(top)


@pytest.mark.parametrize(("name", "source"), [("use", "STANDARD"), ("use", "QUANTILES"), ("plan", "STANDARD")])
@pytest.mark.parametrize("change", ["none", "moved", "missing", "other values"])
def test_distributions_are_equally_far_apart(tmp_path: Path, name: str, source: str, change: str) -> None:
    def rule(threshold: float) -> Any:
        limit = f"jensen_shannon_divergence {{ threshold: {threshold} source {{ type: {source} }} }}"
        type_ = "FLOAT" if name == "use" else "BYTES"
        return schema.parse(f'feature {{ name: "{name}" type: {type_} drift_comparator {{ {limit} }} }}', "schema")

    before, now = table(2000), table(2000, seed=2).select([name])
    values_ = now[name].to_pylist()
    if change == "moved":
        values_ = [value * 1.5 if name == "use" else "plus" for value in values_]
    elif change == "missing":
        values_ = [None] * 1900 + values_[1900:]
    elif change == "other values":
        values_ = [-5.0 if name == "use" else "gold"] * 1000 + values_[1000:]
    now, before = swap(now, name, values_), before.select([name])

    # TFDV's histograms are approximate.
    exceeded = []
    for backend in (DUCKDB, TFDV):
        described, accepted = (describe(backend, each, tmp_path, {}) for each in (now, before))
        rules = map(rule, np.geomspace(0.0005, 0.9, 12))
        exceeded.append(sum(bool(list(backend.violations(described, each, accepted, None))) for each in rules))
    assert abs(exceeded[0] - exceeded[1]) <= 1


def test_a_project_that_changes_its_backend_keeps_the_accepted_snapshot(tmp_path: Path) -> None:
    first, second = Case(tmp_path / "tfdv", backend="tfdv"), Case(tmp_path / "duckdb", backend="duckdb")
    for case in (first, second):
        assert case.validate(table()) == []
        case.accept()
    documents = [ValidationFindings.read(case.folder / "accepted" / "statistics") for case in (first, second)]
    assert documents[0].comparisons == documents[1].comparisons
    (tmp_path / "duckdb" / "accepted" / "statistics").rename(tmp_path / "aside")
    (tmp_path / "tfdv" / "accepted" / "statistics").rename(tmp_path / "duckdb" / "accepted" / "statistics")

    drifted = swap(table(seed=2), "plan", ["basic"] * 1800 + ["plus"] * 200)
    assert kinds(second.validate(drifted)) == [("plan", "drift", "warn")]
