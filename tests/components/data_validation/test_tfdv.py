"""What only TensorFlow Data Validation needs: a quiet import, files without code, a sample of a large table."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data_validation.backends import open_backend
from components.shared.tfdv import quiet, statistics
from tests.components.validation_case import Case, kinds, swap, table


def _import_and_listen() -> str:
    """Import TFDV with both outputs of the process redirected to a file; return what was said."""
    with tempfile.TemporaryFile() as heard:
        kept = [os.dup(1), os.dup(2)]
        for output in (1, 2):
            os.dup2(heard.fileno(), output)
        try:
            quiet.tfdv()
        finally:
            for output, former in zip((1, 2), kept, strict=True):
                os.dup2(former, output)
        heard.seek(0)
        return heard.read().decode()


NOISE = _import_and_listen()


def test_the_import_of_tfdv_says_nothing() -> None:
    assert NOISE == ""


class Code(pa.PyExtensionType):
    """A type whose description in a file is a call of a function."""

    def __init__(self) -> None:
        super().__init__(pa.int64())

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this runs",)


def test_code_in_the_types_of_a_file_is_refused(tmp_path: Path) -> None:
    open_backend("tfdv")
    column = pa.ExtensionArray.from_storage(Code(), pa.array([1]))
    pq.write_table(pa.table({"x": column}), tmp_path / "rows.parquet")

    with pytest.raises(RuntimeError, match="Disallowed deserialization"):
        pq.read_table(tmp_path / "rows.parquet")


def test_a_large_table_is_sampled_and_its_ranges_and_domains_are_exact(tmp_path: Path) -> None:
    rows = statistics.SAMPLE_ROWS + 50_000
    big = table(rows)
    plans = big["plan"].to_pylist()
    plans[123_456] = "gold"
    case = Case(tmp_path, backend="tfdv")
    findings = case.validate(swap(swap(big, "plan", plans), "use", [2000.0, *big["use"].to_pylist()[1:]]))

    assert {("plan", "schema_anomalies", "block"), ("use", "schema_anomalies", "block")} <= set(kinds(findings))
    kept = quiet.tfdv().load_stats_binary(str(case.folder / "statistics" / "table.pb")).datasets[0].num_examples
    assert 0.9 * statistics.SAMPLE_ROWS < kept < 1.1 * statistics.SAMPLE_ROWS
