"""Which of the simulator's switches validation finds, by the kind of signal that each plants, and how often in vain.

``python -m pipelines.bench.drift SEEDS FOLDER`` prints the number of seeds in which each is found, as JSON.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data_validation.comparison import ComparedTables, compare
from components.data_validation.exact import Table
from components.shared.documents.findings import DriftEvidence, DriftSignal
from components.shared.documents.snapshot import TableDescription
from components.shared.project import Project
from pipelines.images import environments
from pipelines.project import project_file
from pipelines.simulator import Switch, write

START, MONTHS = date(2024, 1, 1), 12
CHANGE, NEW_MONTHS = date(2025, 1, 1), 3
REPEAT = "harmless repeat"
"""Three more months of the same business."""
PLANTED: dict[str, tuple[str, str, DriftSignal]] = {
    "sudden-drift": ("usage", "data_gb", "input drift"),
    "gradual-drift": ("usage", "data_gb", "input drift"),
    "recurring-drift": ("usage", "data_gb", "input drift"),
    "broken-column": ("usage", "data_gb", "input drift"),
    "segment-missing": ("usage", "data_gb", "input drift"),
    "correlation-shift": ("usage", "data_gb", "input drift"),
    "label-shift": ("labels", "churned", "label shift"),
    "concept-drift": ("labels", "profiles.contract", "changed relation"),
}
"""Switch to the source, the column and the signal by which it must be found; ``schema-change`` violates the schema."""
_TYPES = {"string": "VARCHAR", "double": "DOUBLE", "int64": "BIGINT", "bool": "BOOLEAN", "timestamp[us]": "TIMESTAMP"}


def signals(folder: Path, seed: int, customers: int = 4000) -> Iterator[tuple[str, set[tuple[str, str, DriftSignal]]]]:
    """Accept a year of a simulated business; yield what is found in a table with three more months.

    Args:
        folder: Where the tables are written; they are replaced.
        seed: Seed of the business.
        customers: Its number of customers.

    Yields:
        ``REPEAT`` or a switch that starts with the new months, and the source, column and signal of each finding.
        The first is the accepted year itself, under the name "first run".
    """
    write(folder / "year", customers=customers, start=START, months=MONTHS, seed=seed)
    yield "first run", _compare(folder / "year", folder / "none", folder / "accepted")
    for name in (REPEAT, *PLANTED):
        switches = [] if name == REPEAT else [Switch(name, CHANGE)]
        months = MONTHS + NEW_MONTHS
        write(folder / "grown", customers=customers, start=START, months=months, seed=seed, switches=switches)
        yield name, _compare(folder / "grown", folder / "accepted", folder / "out")


def measure(seeds: int, folder: Path) -> dict[str, int]:
    """Count the seeds in which each switch is found by its signal, and those in which a business without one alarms."""
    found: Counter[str] = Counter()
    for seed in range(1, seeds + 1):
        for name, observed in signals(folder / "drift", seed):
            found[name] += PLANTED[name] in observed if name in PLANTED else bool(observed)
        shutil.rmtree(folder / "drift")
    return dict(found)


def _compare(folder: Path, accepted: Path, out: Path) -> set[tuple[str, str, DriftSignal]]:
    out.mkdir(parents=True, exist_ok=True)
    project = _example()
    compared = ComparedTables(project, {name: _describe(folder, name, project) for name in project.sources}, folder)
    observed = set()
    for source, description in compared.tables.items():
        table = Table(folder / f"{source}.parquet", description.columns)
        for anomaly in compare(compared, source, table, accepted, out)[0]:
            evidence = anomaly.drift
            assert isinstance(evidence, DriftEvidence)
            observed.add((source, str(anomaly.column), evidence.signal))
    return observed


def _describe(folder: Path, source: str, project: Project) -> TableDescription:
    table: pa.Table = pq.read_table(folder / f"{source}.parquet")
    span = pc.min_max(table[str(project.sources[source].time)]).as_py()
    return TableDescription(
        rows=len(table),
        columns={field.name: _TYPES[str(field.type)] for field in table.schema},
        content_hash="bench",
        time_range=(span["min"].isoformat(), span["max"].isoformat()),
    )


def _example() -> Project:
    return project_file.read(environments.ROOT / "project.yaml")


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
