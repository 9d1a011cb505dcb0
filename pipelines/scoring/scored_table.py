"""Score new rows in batches, and write them with their scores and decisions next to the user's columns."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from components.shared import files
from components.shared.errors import InputError
from components.shared.inputs.rows import texts
from components.shared.package import answers
from components.shared.package.table_model import TableModel
from pipelines.scoring.new_rows import NewRows

_BATCH_ROWS = 50_000
SUFFIXES = (".csv", ".parquet")


@dataclass
class ScoredTable:
    """What was written, and what a user should know about it."""

    out: Path
    rows: int
    version: str
    ignored: tuple[str, ...]
    """Columns that were passed through and no feature is computed from."""
    replaced: tuple[str, ...]
    """Columns of the table that the scores replaced."""
    unreadable: dict[str, int]
    """Column to the number of values that could not be converted and count as missing."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Categorical feature to the number of rows with a value that training did not know."""
    decisions: dict[str, int] = field(default_factory=dict)
    """Decision to its number of rows; empty for a regression."""


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Append rows."""


def check_output(out: Path) -> None:
    """Check that the output can be written, before anything costs time.

    Raises:
        InputError: If its name ends with neither of the known suffixes, or its folder does not exist.
    """
    if not out.parent.is_dir():
        raise InputError(f"the folder {str(out.parent)!r} of --out does not exist; create it, or name another.")
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {str(out)!r} ends with {out.suffix!r}; expected {' or '.join(SUFFIXES)}.")


def write(
    model: TableModel,
    version: str,
    new: NewRows,
    out: Path,
    advance: Callable[[int], None] = lambda rows: None,
    *,
    interval: float | None = None,
) -> ScoredTable:
    """Score all rows and write them; a reader of ``out`` sees the old file or the complete new one.

    The columns ``score`` (the probability of the positive class, or the predicted number; for several classes one
    column ``score_<class>`` each), ``decision`` and ``model_version`` follow the table's own, then ``lower`` and
    ``upper``, or ``set``, of an interval.

    Args:
        model: The model package.
        version: Its version, for the column.
        new: The rows.
        out: A CSV or parquet file.
        advance: Is told the number of rows after each batch.
        interval: The share of labels that the added bounds or sets hold; None adds none.

    Raises:
        InputError: If the model has no intervals of this level.
    """
    made = [*answers.names(model.facts), *(() if interval is None else answers.region_names(model.facts))]
    kept = [(i, name) for i, name in enumerate(new.columns) if name not in made]
    result = ScoredTable(
        out=out,
        rows=new.rows,
        version=version,
        ignored=tuple(name for name in new.ignored if name not in made),
        replaced=tuple(name for name in new.columns if name in made),
        unreadable=dict(new.unreadable),
    )
    unknown: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    reader = new.engine.sql(new.query).to_arrow_reader(_BATCH_ROWS)
    assert reader is not None
    with _writing(out) as open_writer:
        writer: _Writer | None = None
        for batch in reader:
            table = pa.Table.from_batches([batch])
            features = pa.table({name: table.column(f"f{i}") for i, name in enumerate(new.features)})
            scores = model.score(model.inputs(features))
            unknown.update(_unknown(model, features))
            added = answers.columns(model.facts, scores, version)
            if interval is not None:
                added |= answers.region_columns(model.facts, scores, interval)
            if "decision" in added:
                decided.update(added["decision"].to_pylist())
            written = pa.table({name: table.column(f"r{i}") for i, name in kept} | added)
            writer = writer or open_writer(written.schema)
            writer.write_table(written)
            advance(batch.num_rows)
    result.unknown = {name: count for name, count in unknown.items() if count}
    result.decisions = dict(decided.most_common())
    return result


@contextmanager
def _writing(out: Path) -> Iterator[Callable[[pa.Schema], _Writer]]:
    """Open a writer of a file that takes its name when all is written, and is deleted otherwise."""
    with files.replacing(out) as partial:
        writers: list[Any] = []

        def opened(schema: pa.Schema) -> _Writer:
            if out.suffix.lower() == ".parquet":
                writers.append(pq.ParquetWriter(partial, schema))
            else:
                needed = pa.csv.WriteOptions(quoting_style="needed")
                writers.append(pa.csv.CSVWriter(str(partial), schema, write_options=needed))
            writer: _Writer = writers[0]
            return writer

        yield opened
        for writer in writers:
            writer.close()


def _unknown(model: TableModel, features: pa.Table) -> dict[str, int]:
    """Count the rows whose category training did not know; a missing value is known."""
    counts = {}
    for name in model.facts.categorical:
        known = {"", *model.facts.vocabulary[name]}
        values, rows = np.unique(texts(features, name), return_counts=True)
        counts[name] = int(sum(count for value, count in zip(values, rows, strict=True) if value not in known))
    return counts
