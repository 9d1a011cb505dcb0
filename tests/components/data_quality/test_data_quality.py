"""Logged features are held to the reviewed schema where the test rows keep it, else to what these have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data_quality import logic
from components.shared import bundle
from components.shared.documents.data_quality import DataQuality, QualityFinding
from components.shared.errors import InputError
from tests import documents
from tests.components import made_candidate

SCHEMA = """
feature { name: "plan" type: BYTES domain: "plan" value_count { min: 1 max: 1 }
          presence { min_fraction: 1.0 min_count: 1 } }
feature { name: "usage" type: FLOAT float_domain { min: 0 max: 100 } presence { min_fraction: 0.9 min_count: 1 } }
feature { name: "visits" type: INT int_domain { min: 0 } presence { min_fraction: 1.0 min_count: 1 } }
feature { name: "paid" type: INT bool_domain { } presence { min_fraction: 1.0 min_count: 1 } }
string_domain { name: "plan" value: "basic" value: "plus" value: "pro" }
"""
ROWS = 1000


def features(**changes: Any) -> pa.Table:
    """Return rows that conform; a change replaces a column, and None removes it."""
    rng = np.random.default_rng(7)
    columns = {
        "plan": pa.array(rng.choice(["basic", "plus"], ROWS)),
        "usage": pa.array(rng.uniform(1, 99, ROWS)),
        "visits": pa.array(rng.integers(0, 9, ROWS).astype(float)),
        "paid": pa.array(rng.uniform(size=ROWS) < 0.5),
        "region": pa.array(rng.choice(["north", "south"], ROWS)),
    } | changes
    return pa.table({f"received.{name}": values for name, values in columns.items() if values is not None})


def with_some(values: list[Any], share: float, other: Any) -> pa.Array:
    """Replace a share of the values, the first ones."""
    few = round(share * ROWS)
    return pa.array([other] * few + values[few:])


@pytest.fixture
def validate(tmp_path: Path) -> Callable[..., DataQuality]:
    def validated(
        rows: pa.Table, test_rows: pa.Table | None = None, text: str = SCHEMA, redact: tuple[str, ...] = ()
    ) -> DataQuality:
        source, window, evaluation = tmp_path / "source", tmp_path / "window", tmp_path / "measured" / "evaluation"
        for folder in (source / "feature_repo" / "schema", window, evaluation):
            folder.mkdir(parents=True, exist_ok=True)
        (source / "project.yaml").write_text("name: made\n")
        (source / "feature_repo" / "schema" / "rows.pbtxt").write_text(text)
        project = made_candidate.project(monitoring={"redact": redact})
        documents.log_window(rows=rows.num_rows).write(window)
        if "release" not in rows.column_names:
            rows = rows.append_column("release", pa.array([documents.log_window().release] * rows.num_rows))
        pq.write_table(rows, window / "rows.parquet")
        pq.write_table(features() if test_rows is None else test_rows, evaluation / "reference.parquet")
        return logic.validate(
            str(bundle.write(project, source / "project.yaml", tmp_path)), window, tmp_path / "measured"
        )

    return validated


def found(quality: DataQuality) -> dict[str, tuple[Any, bool]]:
    assert quality.reason is None
    return {one.column: (pytest.approx(one.share, abs=1e-6), one.is_broken) for one in quality.findings}


def test_rows_like_the_test_rows_have_no_finding(validate):
    quality = validate(features())

    assert (quality.rows, quality.columns, quality.findings) == (ROWS, 5, ())


@pytest.mark.parametrize(
    ("column", "values", "share", "words"),
    [
        ("plan", with_some(["basic"] * ROWS, 0.03, "gold"), 0.03, "unexpected string values"),
        ("plan", with_some(["basic"] * ROWS, 0.03, "pro"), None, ""),
        ("plan", with_some(["basic"] * ROWS, 0.2, None), 0.2, "0.800000"),
        ("usage", with_some([5.0] * ROWS, 0.07, 5000.0), 0.07, "out-of-range values"),
        ("usage", with_some([5.0] * ROWS, 0.04, -1.0), 0.04, "out-of-range values"),
        ("usage", with_some([5.0] * ROWS, 0.1, None), None, ""),
        ("usage", with_some([5.0] * ROWS, 0.3, None), 0.2, "0.700000"),
        ("visits", with_some([2.0] * ROWS, 0.01, 2.5), 0.01, "INT but got FLOAT"),
        ("region", with_some(["north"] * ROWS, 0.01, "west"), None, ""),
        ("region", with_some(["north"] * ROWS, 0.02, "west"), 0.01, "unexpected string values"),
        ("region", with_some(["north"] * ROWS, 0.01, None), None, ""),
        ("region", pa.nulls(ROWS, pa.string()), 1.0, "column dropped"),
        ("region", pa.array([1.0] * ROWS), 1.0, "BYTES but got FLOAT"),
        ("paid", None, 1.0, "column dropped"),
    ],
)
def test_what_violates_the_schema_is_named_with_its_share_of_the_rows(validate, column, values, share, words):
    quality = validate(features(**{column: values}))

    # Seven of a hundred rows may as well be chance where five are tolerated.
    assert found(quality) == ({} if share is None else {column: (share, share >= 0.2)})
    for finding in quality.findings:
        assert words in finding.sentence and finding.is_reviewed == (column != "region")
        basis = "the champion's test rows" if column == "region" else "the reviewed schema of 'rows'"
        assert finding.sentence.startswith(f"'{column}' is not as in {basis}: ")


def test_a_view_that_computes_something_else_under_the_name_of_a_column_is_held_to_the_test_rows(validate):
    """Its values are larger, more often missing, and of more plans than the column's: so they are in the test rows."""
    other = {
        "usage": with_some(np.linspace(200, 300, ROWS).tolist(), 0.3, None),
        "plan": with_some(["basic"] * ROWS, 0.5, "gold"),
        "visits": pa.array(np.linspace(0, 1, ROWS)),
    }
    test_rows = features(**other)

    assert validate(test_rows, test_rows).findings == ()
    larger = features(**other | {"usage": with_some(np.linspace(250, 400, ROWS).tolist(), 0.305, None)})
    assert validate(larger, test_rows).findings == (), "the next number may be larger than every test row's"
    fewer = features(**other | {"usage": with_some(np.linspace(200, 300, ROWS).tolist(), 0.41, None)})
    assert found(validate(fewer, test_rows)) == {"usage": (0.1, True)}


def test_findings_of_most_rows_come_first_and_redacted_or_new_columns_are_none(validate):
    rows = features(
        plan=with_some(["basic"] * ROWS, 0.02, "gold"),
        usage=with_some([5.0] * ROWS, 0.5, 1e6),
        paid=None,
        added=pa.array(["x"] * ROWS),
    )

    assert [finding.column for finding in validate(rows).findings] == ["paid", "usage", "plan"]
    assert [finding.column for finding in validate(rows, redact=("paid", "usage")).findings] == ["plan"]


def test_without_a_reviewed_schema_the_test_rows_are_what_is_expected(validate):
    quality = validate(features(plan=with_some(["basic"] * ROWS, 0.5, "gold")), text="")

    assert [(one.column, one.is_reviewed, one.is_broken) for one in quality.findings] == [("plan", False, True)]


def test_too_few_rows_are_unknown_and_never_without_a_finding(validate):
    quality = validate(features().slice(0, 10))

    assert quality.findings == () and quality.reason.startswith("only 10 rows were logged in the window")


def test_a_schema_that_is_none_is_named(validate):
    with pytest.raises(InputError, match=r"feature_repo/schema/rows\.pbtxt is not a valid TensorFlow Metadata schema"):
        validate(features(), text="feature {")


def test_the_rows_of_a_window_may_have_any_number_of_batches(validate):
    """Whole numbers in one batch and broken ones in another are still one column."""
    rows = pa.concat_tables([features(), features(visits=pa.array([0.5] * ROWS))])

    assert found(validate(rows)) == {"visits": (0.5, True)}


def test_rows_of_a_former_release_are_not_held_to_what_this_one_takes(validate):
    """They are of no column that is new."""
    former = features(region=pa.nulls(ROWS, pa.string())).append_column("release", pa.array(["0"] * ROWS))
    now = features().append_column("release", pa.array([documents.log_window().release] * ROWS))

    assert validate(pa.concat_tables([former, now])).findings == ()
    few = validate(pa.concat_tables([former, now.slice(0, 20)]))
    assert (
        few.reason == f"release {documents.log_window().release} has answered 20 rows of the window, and 50 are needed"
    )


@pytest.mark.parametrize(("rows", "is_broken"), [(50, False), (100, False), (2000, True)])
def test_few_rows_prove_no_broken_column(rows, is_broken):
    finding = QualityFinding(column="x", share=0.1, rows=rows, is_reviewed=False, sentence="x")

    assert finding.is_broken == is_broken


def test_a_column_of_which_the_test_rows_show_a_part_only_has_no_domain(validate):
    rng = np.random.default_rng(7)
    some, others = (np.char.mod("r%d", np.minimum(rng.zipf(1.3, ROWS), 90)).tolist() for _ in range(2))

    assert validate(features(region=others), features(region=some)).findings == ()
