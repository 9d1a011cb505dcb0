"""Play the weeks of a replay against a live endpoint, with the loop at the end of each."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared import inference, label_store
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.errors import StepFailed
from components.shared.inference import PROBE
from components.shared.measures import value as money
from components.shared.project import Project, Value
from components.shared.release import endpoint_folder, routing
from pipelines import api
from pipelines.replay.outcome import ReplayWeek
from pipelines.replay.treatment import Key, Treatment
from pipelines.replay.world import World
from pipelines.targets.protocol import Backend, RunObserver, RunRequest
from pipelines.traffic import sending
from pipelines.traffic.sending import Question

_ROWS_PER_REQUEST = 16


class Acted(NamedTuple):
    """What the loop did at the end of a week."""

    decision: MonitoringDecision | None
    released: str | None


@dataclass(frozen=True)
class Rows:
    """The rows of some time in their order, as requests, whether each is positive if nobody acts, and their keys."""

    questions: Sequence[Question]
    positive: np.ndarray
    keys: Sequence[Key]


class Player:
    """One project in a simulated business, with a server running.

    Args:
        backend: The project.
        world: The business.
        rows: Everything that will be asked: entity, event time, features and label.
        treatment: What acting on customers does to their labels.
    """

    def __init__(self, backend: Backend, world: World, rows: pa.Table, treatment: Treatment) -> None:
        self.backend, self._world, self.treatment = backend, world, treatment
        self._rows = rows.sort_by(backend.project.event_time)
        self._asked = 0

    @functools.cached_property
    def _features(self) -> Mapping[str, str]:
        """The features of the model and their types; retraining on the same project changes neither."""
        with tempfile.TemporaryDirectory(prefix="perennial-replay-") as folder:
            _, package = self.backend.model_package(None, Path(folder))
            return {feature.name: feature.type for feature in ModelFacts.read(package).features}

    def publish(self, now: datetime) -> None:
        """Let the project's tables hold what is known at a moment."""
        project, root = self.backend.project, self.backend.state.root
        source = project.sources[project.label.source]
        assert source.path is not None
        folder, label = (root / source.path).parent, project.label.column
        self._world.publish(folder, now, project.entity, project.event_time, label, self.treatment)

    def train(self) -> str | None:
        """Run the training pipeline; return the version that took over, None if none did."""
        before = routing.answering(self.backend.state.endpoint)
        with self.backend.start(RunRequest(wait_for_lock=True), RunObserver()) as started:
            started.follow()
        after = routing.answering(self.backend.state.endpoint)
        return after if after != before else None

    def between(self, start: datetime, end: datetime) -> Rows:
        """Return the rows whose event times are after ``start``, up to and including ``end``."""
        project, chosen = self.backend.project, self._chosen(start, end)
        labels = [str(label) for label in chosen[project.label.column].to_pylist()]
        positive = np.array(labels) == str(project.label.positive)
        keys = list(zip(chosen[project.entity].to_pylist(), chosen[project.event_time].to_pylist(), strict=True))
        if not labels:
            return Rows((), positive, keys)
        with tempfile.TemporaryDirectory(prefix="perennial-replay-") as work:
            folder = Path(work)
            table = folder / "rows.parquet"
            pq.write_table(chosen, table)
            types = api.training_types(self.backend)
            scratch = folder / "work"
            scratch.mkdir()
            root = self.backend.state.root
            questions = sending.read(project, root, self._features, types, table, scratch, _ROWS_PER_REQUEST)
        return Rows(questions, positive, keys)

    def _chosen(self, start: datetime, end: datetime) -> pa.Table:
        times = self._rows[self.backend.project.event_time]
        after, until = (pa.scalar(moment, times.type) for moment in (start, end))
        return self._rows.filter(pc.and_(pc.greater(times, after), pc.less_equal(times, until)))

    def ask(self, rows: Rows, *, logged: bool) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return which rows the endpoint decides to act on, and which versions answered.

        Args:
            rows: The rows.
            logged: Whether they are traffic; otherwise monitoring leaves them out.
        """
        server = endpoint_folder.server(self.backend.state.endpoint)
        if server is None:
            raise StepFailed("the replay's server has ended; its log is in the endpoint's folder.")
        name, positive = self.backend.project.name, str(self.backend.project.label.positive)
        decisions: list[str] = []
        versions = set()
        for question in rows.questions:
            self._asked += 1
            request_id = None if logged else f"{PROBE}replay-{self._asked}"
            answer = inference.predict(
                server.url,
                name,
                question.rows,
                entity=question.entities,
                event_time=question.event_time,
                request_id=request_id,
            )
            decisions += [str(prediction["decision"]) for prediction in answer["predictions"]]
            versions.add(str(answer["model_version"]))
        return np.array(decisions) == positive, tuple(sorted(versions))

    def add_labels(self, start: datetime, end: datetime) -> None:
        """Add the labels that become known in a time."""
        project = self.backend.project
        delay = timedelta(days=project.label.delay_days)
        due = self._chosen(start - delay, end - delay)
        if not due.num_rows:
            return
        due = self.treatment.labels(due, project.entity, project.event_time, project.label.column)
        texts = [str(label) for label in due[project.label.column].to_pylist()]
        entities = due[project.entity].cast(pa.string())
        times = due[project.event_time].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        known_at = pc.add(times, pa.scalar(delay, pa.duration("us")))
        columns = {"entity": entities, "event_time": times, "label": pa.array(texts), "known_at": known_at}
        arrays = [columns.get(field.name, pa.nulls(len(texts), field.type)) for field in label_store.SCHEMA]
        self.backend.add_labels(pa.table(arrays, schema=label_store.SCHEMA), end.replace(tzinfo=UTC))


def weeks(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Split a period into whole weeks; an incomplete last week is dropped."""
    while start + timedelta(days=7) <= end:
        yield start, start + timedelta(days=7)
        start += timedelta(days=7)


def play(
    player: Player,
    spans: Sequence[tuple[datetime, datetime]],
    never: Mapping[datetime, np.ndarray],
    oracle: Mapping[datetime, np.ndarray],
    act: Callable[[], Acted],
    told: Callable[[ReplayWeek], None],
) -> list[ReplayWeek]:
    """Play week after week: requests, labels that have become known, and the loop.

    Args:
        player: The project, with a server running.
        spans: Start and end of each week.
        never: End of a week to the rows that the first model acts on.
        oracle: The same for the oracle's model.
        act: Looks at the window and does what monitoring decides.
        told: Receives each week.
    """
    project, done = player.backend.project, []
    for start, end in spans:
        rows = player.between(start, end)
        acted_on, versions = player.ask(rows, logged=True)
        player.treatment.apply(rows.keys, acted_on, rows.positive)
        player.add_labels(start, end)
        player.publish(end)
        acted = act()
        decision = acted.decision
        week = ReplayWeek(
            end=end.isoformat(),
            rows=len(acted_on),
            versions=versions,
            gain=gain(project, acted_on, rows.positive),
            never=gain(project, never[end], rows.positive),
            oracle=gain(project, oracle[end], rows.positive),
            action=decision.action if decision else None,
            cause=decision.cause if decision else None,
            released=acted.released,
        )
        told(week)
        done.append(week)
    return done


def gain(project: Project, acted_on: np.ndarray, positive: np.ndarray) -> float:
    """Return what acting on some rows is worth above acting on nobody."""
    value: Value = project.value or money.EQUAL_COSTS
    return money.gain(value, money.counts(acted_on.astype(float), positive, 0.5))


@contextmanager
def serving(backend: Backend) -> Iterator[None]:
    """Serve a project on any free port."""
    with backend.serve(RunObserver(), host="127.0.0.1", port=0, grpc_port=0):
        yield
