"""Send the rows of a table to the endpoint, in the order of their event times."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.shared import inference
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.scoring import new_rows
from pipelines.scoring.times import utc


@dataclass(frozen=True)
class Question:
    """One request: rows that describe the same moment.

    ``entities`` is None where the table has no entity, ``event_time`` where it has no time.
    """

    rows: list[dict[str, Any]]
    entities: list[str] | None
    event_time: str | None


@dataclass(frozen=True)
class Sent:
    """What was sent, and how long it took."""

    requests: int
    rows: int
    seconds: float
    versions: tuple[str, ...]
    """The releases that answered."""


def read(
    project: Project,
    root: Path,
    features: Mapping[str, str],
    types: Mapping[str, str] | None,
    table: Path,
    work: Path,
    rows_per_request: int,
) -> list[Question]:
    """Compute the features of a table's rows, and divide them into requests.

    Args:
        project: Names the columns of entity and event time; a table may lack them.
        root: The project's folder.
        features: Feature of the model to its type.
        types: See ``new_rows.open_table``.
        table: A CSV file, a parquet file or a folder of parquet files.
        work: An empty folder.
        rows_per_request: Most rows of a request; rows with different event times are never in one.

    Raises:
        InputError: If the table cannot be read or lacks features.
    """
    with new_rows.open_table(project, root, features, table, types, work) as rows:
        content = rows.engine.sql(rows.query).to_arrow_table()
        names = {f"r{index}": name for index, name in enumerate(rows.columns)}
        beside = {name: content[column] for column, name in names.items()}
        values = pa.table({name: content[f"f{index}"] for index, name in enumerate(rows.features)})
    entities = beside[project.entity].cast(pa.string()) if project.entity in beside else None
    times = _times(beside[project.event_time]) if project.event_time in beside else None
    if times is not None:
        order = pc.sort_indices(times)
        values, times = values.take(order), times.take(order)
        entities = entities.take(order) if entities is not None else None
    return list(_divided(values, entities, times, rows_per_request))


def send(
    questions: list[Question],
    url: str,
    model: str,
    rate: float,
    progress: Callable[[int], None] = lambda requests: None,
    *,
    clock_s: Callable[[], float] = time.monotonic,
    wait_s: Callable[[float], None] = time.sleep,
) -> Sent:
    """Send the requests one after another, at most ``rate`` per second.

    Raises:
        InputError: If the server refuses a row.
        StepFailed: If no server answers.
    """
    began, versions = clock_s(), set()
    for number, question in enumerate(questions):
        early = began + number / rate - clock_s()
        if early > 0:
            wait_s(early)
        answer = inference.predict(url, model, question.rows, entity=question.entities, event_time=question.event_time)
        versions.add(str(answer["model_version"]))
        progress(number + 1)
    rows = sum(len(question.rows) for question in questions)
    return Sent(len(questions), rows, clock_s() - began, tuple(sorted(versions)))


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return utc(column)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"the column of the event time cannot be read as times ({error}); convert it, or leave it out."
        ) from error


def _divided(
    values: pa.Table, entities: pa.ChunkedArray | None, times: pa.ChunkedArray | None, most: int
) -> Iterator[Question]:
    rows = values.to_pylist()
    names: list[str | None] = [None] * len(rows) if entities is None else entities.to_pylist()
    moments: list[str | None] = [None] * len(rows)
    if times is not None:
        moments = [moment and moment.isoformat() for moment in times.to_pylist()]
    first = 0
    while first < len(rows):
        last = first + 1
        while last < len(rows) and last - first < most and moments[last] == moments[first]:
            last += 1
        known = [name for name in names[first:last] if name is not None]
        yield Question(rows[first:last], known if len(known) == last - first else None, moments[first])
        first = last
