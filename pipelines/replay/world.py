"""The simulated business of a replay: all its tables, of which a project sees at any moment what is known by then."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared import files
from pipelines import simulator
from pipelines.replay.treatment import Treatment
from pipelines.simulator.switches import Switch

KNOWN_AT = "known_at"


@dataclass(frozen=True)
class World:
    """The tables of the whole period, under ``folder``."""

    folder: Path

    @classmethod
    def simulate(cls, folder: Path, start: date, months: int, switches: Sequence[Switch], seed: int) -> "World":
        """Simulate a period from the first day of a month on."""
        simulator.write(folder, start=start, months=months, switches=switches, seed=seed)
        return cls(folder)

    def publish(
        self, target: Path, now: datetime, entity: str, event_time: str, label: str, treatment: Treatment
    ) -> None:
        """Write the tables as they were known at a moment; a label that was not known yet is null.

        Args:
            target: Folder for the tables.
            now: The moment, in UTC without a zone, like the times of the tables.
            entity: Column of the labels with the customer.
            event_time: Column of the labels with the time of the example.
            label: Column of the labels with the label.
            treatment: What acting on customers has done to their labels.
        """
        target.mkdir(parents=True, exist_ok=True)
        for name in simulator.TABLES:
            table = pq.read_table(self.folder / f"{name}.parquet")
            moment = pa.scalar(now, table[KNOWN_AT].type)
            is_known = pc.less_equal(table[KNOWN_AT], moment)
            if name == "labels":
                table = treatment.labels(table, entity, event_time, label)
                index = table.column_names.index(label)
                table = table.set_column(index, label, pc.if_else(is_known, table[label], None))
                table = table.filter(pc.less_equal(table[event_time], moment))
            else:
                table = table.filter(is_known)
            with files.replacing(target / f"{name}.parquet") as partial:
                pq.write_table(table, partial, compression="zstd")
