"""Score many rows with the champion: in bounded memory, resumable, each row exactly once.

The rows are cut into parts of ``PART_ROWS``, in their order. A part is written under another name and renamed, so it is
there whole or not at all; a run that is killed leaves the parts that it finished, and the next run with the same rows
and the same model writes only the others. The same rows and model give the same bytes.

Several pods may share a batch: each writes the parts of one shard, then another one collects these, writes what is
missing, and lists them all.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.documents.batch_scores import BatchScores, ScoredPart
from components.shared.documents.champion import ChampionRecord
from components.shared.errors import InputError
from components.shared.package import answers
from components.shared.package.table_model import TableModel
from components.shared.project import Project

PART_ROWS = 100_000
ROWS = "rows.parquet"
PACKAGE = "package"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """Every ``shards``-th part, from number ``shard`` on; by default all parts."""

    shard: int = 0
    shards: int = 1

    def __contains__(self, number: int) -> bool:
        """Say whether a part belongs to the share."""
        return number % self.shards == self.shard


class Written(Protocol):
    """What another pod has written."""

    path: str


WHOLE = Share()


def score(
    project: Project,
    rows: Path,
    champion: Path,
    folder: str,
    target: Path,
    share: Share = WHOLE,
    written: Sequence[Written] | None = None,
) -> BatchScores:
    """Score all rows and write ``scores.json`` beside the files, and into ``target``.

    A part has the columns of the entity and the event time, and those of ``components.shared.package.answers``.

    Args:
        project: Names the entity and the event time.
        rows: Folder with ``rows.parquet``: entity, event time and features.
        champion: Folder with ``champion.json`` and the model package in ``package/``.
        folder: Where batches are kept, each in a folder of its own; "" writes the files to ``target``.
        target: Folder of the artifact.
        share: Which parts to write; ``scores.json`` lists these only.
        written: Targets of other pods; their parts of the same rows and model are copied.

    Raises:
        InputError: If nothing has been released, or features of the model are absent.
    """
    record = ChampionRecord.read(champion)
    if record.version is None:
        raise InputError("nothing has been released yet, so nothing can score; run 'perennial run' first.")
    table, model = rows / ROWS, TableModel.open(champion / PACKAGE)
    rows_sha256 = files.sha256(table)
    batch = files.digest([rows_sha256, model.package.manifest_sha256, PART_ROWS])[:16]
    place = Path(folder) / batch if folder else target
    place.mkdir(parents=True, exist_ok=True)
    for shard in written or ():
        _collect(Path(shard.path), rows_sha256, model.package.manifest_sha256, place)
    pieces = (piece for piece in _pieces(table) if piece[0] in share)
    parts = tuple(_part(project, model, record.version, place, *piece) for piece in pieces)
    done = BatchScores(
        model=model.facts.name,
        version=record.version,
        manifest_sha256=model.package.manifest_sha256,
        rows_sha256=rows_sha256,
        rows=sum(part.rows for part in parts),
        parts=parts,
        folder=str(place),
    )
    done.write(target)
    if place != target and share == WHOLE:
        done.write(place)
    _log.info("%d rows scored by version %s into %s", done.rows, done.version, place)
    return done


def _collect(shard: Path, rows_sha256: str, manifest_sha256: str, place: Path) -> None:
    """Copy the parts of a shard that are whole; others, or those of another batch, are left to be scored."""
    done = BatchScores.read(shard)
    if (done.rows_sha256, done.manifest_sha256) != (rows_sha256, manifest_sha256):
        _log.warning("the parts in %s are scores of other rows or another model; they are scored again", shard)
        return
    for part in done.parts:
        if (place / part.file).exists():
            continue
        if (shard / part.file).exists() and files.sha256(shard / part.file) == part.sha256:
            with files.replacing(place / part.file) as partial:
                shutil.copyfile(shard / part.file, partial)
        else:
            _log.warning("%s of %s is absent or damaged; its rows are scored again", part.file, shard)


def _pieces(table: Path) -> Iterator[tuple[int, pa.Table]]:
    """Number the parts, and read the rows of each."""
    for number, batch in enumerate(pq.ParquetFile(table).iter_batches(batch_size=PART_ROWS)):
        yield number, pa.Table.from_batches([batch])


def _part(project: Project, model: TableModel, version: str, place: Path, number: int, rows: pa.Table) -> ScoredPart:
    """Write one part, unless it is there."""
    path = place / f"part-{number:05d}.parquet"
    if not path.exists():
        with files.replacing(path) as partial:
            pq.write_table(_scored(project, model, version, rows), partial, compression="zstd")
    return ScoredPart(file=path.name, rows=len(rows), sha256=files.sha256(path))


def _scored(project: Project, model: TableModel, version: str, rows: pa.Table) -> pa.Table:
    facts = model.facts
    absent = sorted({feature.name for feature in facts.features} - set(rows.column_names))
    if absent:
        raise InputError(
            f"the rows lack the features {absent}, which version {version} of {facts.name!r} takes; the project has "
            "changed since it was trained. Run 'perennial run' first."
        )
    identity = {name: rows[name] for name in (project.entity, project.event_time)}
    return pa.table(identity | answers.columns(facts, model.score(model.inputs(rows)), version))
