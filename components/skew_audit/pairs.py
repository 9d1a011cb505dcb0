"""Write logged and offline values side by side, in batches of rows, so that no table has to fit into memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.inference_log.columns import RECEIVED
from components.shared.project import Project
from components.skew_audit.offline import OfflinePath
from components.skew_audit.typed import is_exact, typed

LOGGED, OFFLINE = "logged", "offline"
"""Prefixes of a column with the values of the feature whose number follows."""
IDENTITY = ("n", "request_id", "row", "event_time", "release", "entity")
_BATCH = 250_000


@dataclass(frozen=True)
class ComparedFeature:
    """One feature of the comparison.

    Attributes:
        name: As the project file calls it.
        number: Of its columns.
        view: The feature view that delivers it.
        type: "numeric", "boolean" or "categorical".
        is_exact: Whether the values are equal only if they are the same: texts, booleans, whole numbers. Others are
            equal if they are in single precision, in which the model sees them.
        not_in: Releases whose rows are not compared, because they never logged a value.
    """

    name: str
    number: int
    view: str
    type: str
    is_exact: bool
    not_in: tuple[str, ...] = ()

    @property
    def logged(self) -> str:
        """Name the column of the logged values."""
        return f"{LOGGED}{self.number}"

    @property
    def offline(self) -> str:
        """Name the column of the offline values."""
        return f"{OFFLINE}{self.number}"

    def same(self, left: str, right: str) -> str:
        """Return SQL that is true where two values are the same, or both are missing."""
        exact = f"{left} IS NOT DISTINCT FROM {right}"
        if self.type != "numeric" or self.is_exact:
            return f"({exact})"
        # A number outside the range of single precision has none.
        return f"({exact} OR coalesce(TRY_CAST({left} AS FLOAT) = TRY_CAST({right} AS FLOAT), false))"


def write(
    offline: OfflinePath, asked: Path, project: Project, numbers: Mapping[str, int], target: Path
) -> tuple[ComparedFeature, ...]:
    """Ask the offline path about every row, and write the pairs: ``IDENTITY``, ``logged<i>`` and ``offline<i>``.

    Args:
        offline: The offline path.
        asked: Parquet file of the logged rows.
        project: Says the type of each feature.
        numbers: The features to compare, with the number of their columns.
        target: The parquet file.

    Raises:
        InputError: If a feature of the tables does not have the type that the project file says.
    """
    exact: dict[str, bool] = {}
    writer: pq.ParquetWriter | None = None
    try:
        for batch in pq.ParquetFile(asked).iter_batches(_BATCH):
            rows = pa.Table.from_batches([batch])
            answers = offline.features(rows.select(["entity", "event_time"]).to_pandas())
            exact = {name: is_exact(answers, name) for name in numbers}
            logged = typed(rows, project, {name: RECEIVED + name for name in numbers}, "of the log")
            offline_values = typed(answers, project, {name: name for name in numbers}, "of the feature service")
            columns = {name: rows[name] for name in IDENTITY}
            columns |= {f"{LOGGED}{number}": logged[name] for name, number in numbers.items()}
            columns |= {f"{OFFLINE}{number}": offline_values[name] for name, number in numbers.items()}
            pairs = pa.table(columns)
            writer = writer or pq.ParquetWriter(target, pairs.schema, compression="zstd")
            writer.write_table(pairs)
    finally:
        if writer is not None:
            writer.close()
    view_of = {name: view.name for view in offline.views for name in view.features}
    return tuple(
        ComparedFeature(name, number, view_of[name], project.features.columns[name].type, exact[name])
        for name, number in numbers.items()
    )
