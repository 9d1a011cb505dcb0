"""Remove what the inference log holds about a person: every row of an entity.

Compacted files are rewritten without the rows. A server may still be writing a segment, so the entity is also noted, as
a salted hash, and whoever compacts that segment later drops its rows. Requests after the removal are logged again.
"""

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.files import replacing

FILE = "forgotten.jsonl"
"""What was forgotten here."""
FOLDER = "forgotten"
"""Notes that a collector copied from its bucket."""
WAITING = ".waiting"
"""Suffix of a note that the collector has not finished with."""
_SALT_BYTES = 16


@dataclass(frozen=True)
class Forgotten:
    """Entities whose rows are to be dropped up to a moment, known by their salted hashes only."""

    until_us: tuple[tuple[bytes, str, int], ...]
    """Salt, hash, and the last moment in microseconds since 1970 in UTC."""

    def keeps(self, table: pa.Table) -> NDArray[np.bool_]:
        """Return for each row of a segment whether it stays."""
        kept = np.ones(table.num_rows, dtype=bool)
        if not self.until_us or table["entity"].null_count == table.num_rows:
            return kept
        encoded = table["entity"].combine_chunks().dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        moments = table["at"].cast(pa.int64()).to_numpy(zero_copy_only=False)
        names = encoded.dictionary.to_pylist()
        for salt, hashed, until_us in self.until_us:
            found = [code for code, name in enumerate(names) if _hashed(salt, name) == hashed]
            kept &= ~(np.isin(codes, found) & (moments <= until_us))
        return kept


def note(folder: Path, entities: Collection[str], now: datetime) -> None:
    """Note that the rows of some entities up to now are to be dropped."""
    with (folder / FILE).open("a", encoding="utf-8") as stream:
        stream.write(notes(entities, now))


def notes(entities: Collection[str], now: datetime) -> str:
    """Return a line of JSON for each entity."""
    until_us = int(now.timestamp() * 1e6)
    lines = []
    for entity in entities:
        salt = secrets.token_bytes(_SALT_BYTES)
        lines.append(json.dumps({"salt": salt.hex(), "sha256": _hashed(salt, entity), "until_us": until_us}) + "\n")
    return "".join(lines)


def oldest(retention_days: int, now: datetime) -> datetime:
    """Return the start of the oldest day that a log keeps: what was forgotten before it is nowhere any more.

    However late a segment arrives, its rows of earlier days are deleted with their days.
    """
    day = (now.astimezone(UTC) - timedelta(days=retention_days)).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def expire(folder: Path, retention_days: int, now: datetime) -> None:
    """Remove the lines of ``FILE`` that are about rows older than the retention."""
    path = folder / FILE
    if not path.exists():
        return
    start_us = int(oldest(retention_days, now).timestamp() * 1e6)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    valid = [line for line in lines if json.loads(line)["until_us"] >= start_us]
    if valid != lines:
        with replacing(path) as partial:
            partial.write_text("".join(valid), encoding="utf-8")


def read(folder: Path) -> Forgotten:
    """Read what has been noted."""
    paths = [path for path in (folder / FILE, *sorted((folder / FOLDER).glob("*"))) if path.exists()]
    return parse("".join(path.read_text(encoding="utf-8") for path in paths))


def parse(lines: str) -> Forgotten:
    """Read lines that ``notes`` returned."""
    noted = (json.loads(line) for line in lines.splitlines())
    return Forgotten(tuple((bytes.fromhex(one["salt"]), one["sha256"], one["until_us"]) for one in noted))


def _hashed(salt: bytes, entity: str) -> str:
    return hashlib.sha256(salt + entity.encode()).hexdigest()
