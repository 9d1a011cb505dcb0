"""Write the tables of a period block by block, so that memory does not depend on the number of customers."""

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.errors import InputError
from pipelines.simulator import tables
from pipelines.simulator.activity import simulate_month
from pipelines.simulator.calendar import ORIGIN, month_number, month_start
from pipelines.simulator.population import Population
from pipelines.simulator.switches import Faults, Switch, resolve

TABLES = ("profiles", "usage", "contacts", "labels")
LABEL_DELAY_DAYS = 30
_BLOCK = 32_768
_ROW_GROUP = 262_144


class _Tables:
    """The parquet files of a period; rows are written whenever a row group is full."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.rows: dict[str, int] = {}
        self._folder = folder
        self._stack = stack
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._pending: dict[str, list[pa.Table]] = {}

    def add(self, name: str, table: pa.Table) -> None:
        self.rows[name] = self.rows.get(name, 0) + len(table)
        self._pending.setdefault(name, []).append(table)
        if sum(map(len, self._pending[name])) >= _ROW_GROUP:
            self.flush(name)

    def flush(self, name: str) -> None:
        table = pa.concat_tables(self._pending.pop(name))
        if name not in self._writers:
            path = self._folder / f"{name}.parquet.partial"
            self._writers[name] = self._stack.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd"))
        self._writers[name].write_table(table, row_group_size=len(table) or 1)

    def finish(self) -> None:
        for name in list(self._pending):
            self.flush(name)


def write(
    folder: Path,
    customers: int = 4000,
    start: date = date(2024, 1, 1),
    months: int = 15,
    seed: int = 7,
    switches: Iterable[Switch] = (),
) -> dict[str, int]:
    """Write ``profiles``, ``usage``, ``contacts`` and ``labels`` as ``<folder>/<table>.parquet``.

    A period contains the rows that became known in it, so consecutive periods add up to the longer period. Profiles are
    written with their whole history, and labels younger than 30 days at the end of the period are null. Equal arguments
    produce equal bytes. All times are UTC.

    Args:
        folder: Destination; created if absent, existing files are replaced.
        customers: Number of customers at any time.
        start: First day of a month, not before 2023-01-01.
        months: Length of the period.
        seed: Seed of the simulated business.
        switches: Faults, and the months in which they start.

    Returns:
        Table name to number of rows.

    Raises:
        InputError: If an argument is out of range.
    """
    if not 1 <= customers < 10**7:
        raise InputError(f"cannot simulate {customers} customers; expected 1 to 9,999,999.")
    if months < 1:
        raise InputError(f"cannot simulate {months} months; expected at least 1.")
    if start < ORIGIN or start.day != 1:
        raise InputError(f"the period cannot start on {start}; expected the first day of a month, {ORIGIN} or later.")
    if seed < 0:
        raise InputError(f"the seed is {seed}; expected 0 or more.")
    first = month_number(start)
    faults = resolve(switches, first)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        out = _Tables(folder, stack)
        for block, first_slot in enumerate(range(0, customers, _BLOCK)):
            population = Population(seed, block, first_slot, min(_BLOCK, customers - first_slot))
            _write_block(out, population, first, first + months, faults)
        out.finish()
    for name in out.rows:
        (folder / f"{name}.parquet.partial").replace(folder / f"{name}.parquet")
    return out.rows


def _write_block(out: _Tables, population: Population, first: int, stop: int, faults: Faults) -> None:
    """Simulate one block from the origin to the end of the period, and write the rows of the period."""
    begin, end = int(month_start(first)), int(month_start(stop))
    changed_schema = faults.active("schema-change", stop - 1)
    history = []
    for month in range(stop):
        changed = population.change(month)
        history.append(tables.profiles(population, changed | population.newcomers, month))
        if month == max(first - 1, 0):
            # Customers who left before the period do not appear in it.
            remaining = pa.array(tables.customer_ids(population.slot, population.generation))
            profiles = pa.concat_tables(history)
            history = [profiles.filter(pc.is_in(profiles["customer_id"], remaining))]
        activity = simulate_month(population, month, faults)
        if month >= first - 1:
            out.add("usage", _became_known(tables.usage(population, activity, changed_schema), begin, end))
            out.add("contacts", _became_known(tables.contacts(population, activity), begin, end))
        if month >= first:
            out.add("labels", tables.labels(population, activity, faults, end, LABEL_DELAY_DAYS))
        population.replace(activity.leaves, month + 1)
    out.add("profiles", _became_known(pa.concat_tables(history), int(np.iinfo(np.int64).min), end))


def _became_known(table: pa.Table, begin: int, end: int) -> pa.Table:
    """Return the rows that became known in [begin, end)."""
    known_at = table["known_at"].cast(pa.int64())
    return table.filter(pc.and_(pc.greater_equal(known_at, begin), pc.less(known_at, end)))
