"""Materialization writes the newest row per entity, by window, and never replaces a newer value with an older one."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from components.materialization import logic, online
from components.materialization.window import Window
from components.shared import bundle, polling
from components.shared.documents.materialization import MaterializationSummary
from components.shared.errors import InputError, StepFailed
from components.shared.project import Project
from serving.online.feature_server import FeatureServer, StoredRow
from serving.refusal import RequestRefused
from tests import documents

FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, String
from feast.value_type import ValueType

who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
readings = FeatureView(
    name="readings",
    entities=[who],
    ttl=timedelta(0),
    source=FileSource(
        name="readings", path="data/readings.parquet", timestamp_field="moment", created_timestamp_column="created"
    ),
    schema=[Field(name="value", dtype=Float64), Field(name="unit_y", dtype=String)],
)
service = FeatureService(name="service", features=[readings])
"""
STORE = "project: tiny\nprovider: local\nregistry: data/registry.db\noffline_store: {type: duckdb}\n"
STORE += "online_store: {type: sqlite, path: data/online.db}\nentity_key_serialization_version: 3\n"
REDIS = os.environ.get("PERENNIAL_REDIS_SERVER") or shutil.which("redis-server")


def day(number: float) -> datetime:
    return datetime(2024, 1, 1) + timedelta(days=number - 1)


ROWS = [
    ("ann", day(1), day(1), 1.0, "a"),
    ("ann", day(3), day(3), 3.0, "b"),
    ("bob", day(2), day(2), 2.0, None),
    ("bob", day(2), day(5), 2.5, "corrected"),
    ("cem", day(9), day(9), None, "c"),
]


class Example:
    """A project with one view, and an online store."""

    def __init__(self, folder: Path, store: str) -> None:
        self.store, self.folder = store, folder
        repo = folder / "feature_repo"
        (repo / "sql").mkdir(parents=True)
        (repo / "feature_store.yaml").write_text(STORE)
        (repo / "features.py").write_text(FEATURES)
        (repo / "sql" / "readings.sql").write_text("SELECT who, moment, created, value, unit_y FROM events")
        (folder / "project.yaml").write_text("name: tiny\n")
        project = Project.model_validate(
            {
                "name": "tiny", "task": "binary", "entity": "who", "event_time": "moment",
                "sources": {"events": {"path": "events.parquet"}}, "label": {"source": "events", "column": "y"},
                "features": {"service": "service", "columns": {"value": {"type": "numeric"}}},
            }
        )  # fmt: skip
        self.bundle = str(bundle.write(project, folder / "project.yaml", folder / "bundles"))
        self.write(ROWS)

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        (self.folder / "snapshot").mkdir(exist_ok=True)
        names = ("who", "moment", "created", "value", "unit_y")
        table = pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
        pq.write_table(table, self.folder / "snapshot" / "events.parquet")
        self.end(max(row[1] for row in rows))

    def end(self, newest: datetime) -> None:
        """Say in the snapshot's description that the tables end at a time."""
        times = [day(1).isoformat(), newest.isoformat()]
        described = {"rows": 1, "columns": {}, "content_hash": "c" * 64, "time_range": times}
        documents.snapshot(tables={"events": described}).write(self.folder / "snapshot")

    def run(self, start: datetime | None = None, end: datetime | None = None) -> tuple[int, int]:
        """Materialize a window; return the rows written and kept."""
        summary = logic.materialize(self.bundle, self.folder / "snapshot", self.store, Window(start, end))
        [view] = summary.views
        return view.written, view.kept

    def values(self) -> dict[str, Any]:
        """Read all entities back as a feature server does, through a store opened for that."""
        scratch = self.folder / "reader"
        scratch.mkdir(exist_ok=True)
        store = online.open_store(self.store, self.folder / "feature_repo", scratch)
        if self.store.startswith("redis"):
            with contextlib.chdir(self.folder / "feature_repo"):
                from components.shared.features import repository

                store.apply(repository.load(self.folder / "feature_repo"))
        return read(store)


def read(store: FeatureStore) -> dict[str, Any]:
    entities = [{"who": name} for name in ("ann", "bob", "cem")]
    answer = store.get_online_features(["readings:value", "readings:unit_y"], entities).to_dict()
    return {
        who: (value, unit) for who, value, unit in zip(answer["who"], answer["value"], answer["unit_y"], strict=True)
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[int]:
    """Run a Redis server on loopback and return its port."""
    if REDIS is None:
        pytest.skip("no redis-server on PATH; install Debian's redis-server or set PERENNIAL_REDIS_SERVER to its path")
    port = free_port()
    command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "secret"]
    with subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL) as server:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
        server.terminate()


@pytest.fixture(params=["sqlite", "redis"])
def example(request, tmp_path, monkeypatch) -> Example:
    if request.param == "sqlite":
        return Example(tmp_path, str(tmp_path / "online"))
    port = request.getfixturevalue("redis")
    monkeypatch.setenv(online.PASSWORD, "secret")
    return Example(tmp_path, f"redis://127.0.0.1:{port}?project={tmp_path.name.replace('-', '_')}")


def test_the_newest_row_of_each_entity_is_written(example):
    assert example.run() == (3, 0)
    assert example.values() == {"ann": (3.0, "b"), "bob": (2.5, "corrected"), "cem": (None, "c")}


def test_a_row_of_the_future_does_not_replace_the_one_that_counts_now(example):
    example.end(day(2))

    assert example.run() == (2, 0)
    assert example.values() == {"ann": (1.0, "a"), "bob": (2.5, "corrected"), "cem": (None, None)}

    example.end(day(3))
    assert example.run() == (1, 1)
    assert example.values()["ann"] == (3.0, "b")


def test_the_same_window_again_writes_nothing(example):
    first = example.run()
    before = example.values()

    assert (first, example.run()) == ((3, 0), (0, 3))
    assert example.values() == before


def test_an_old_window_never_replaces_newer_values(example):
    example.run()

    assert example.run(end=day(1)) == (0, 1)
    assert example.values()["ann"] == (3.0, "b")


def test_fractions_of_a_second_neither_write_again_nor_go_back_in_time(example):
    later, earlier = day(3) + timedelta(microseconds=951_234), day(3) + timedelta(microseconds=912_345)
    example.write([("ann", earlier, earlier, 1.0, "earlier"), ("ann", later, later, 2.0, "later")])

    assert example.run() == (1, 0)
    assert example.run() == (0, 1)
    assert example.run(end=earlier) == (0, 1)
    assert example.values()["ann"] == (2.0, "later")


def test_windows_in_their_order_end_where_one_window_ends(example):
    assert example.run(end=day(1)) == (1, 0)
    assert example.values() == {"ann": (1.0, "a"), "bob": (None, None), "cem": (None, None)}
    assert example.run(start=day(1), end=day(3)) == (2, 0)
    assert example.run(start=day(3)) == (1, 0)
    assert example.values() == {"ann": (3.0, "b"), "bob": (2.5, "corrected"), "cem": (None, "c")}


def test_the_start_is_outside_of_the_window_and_the_end_inside(example):
    assert example.run(start=day(3), end=day(9)) == (1, 0)
    assert example.values()["ann"] == (None, None)


def test_a_row_that_arrives_late_does_not_go_back_in_time(example):
    example.run()
    example.write([*ROWS, ("ann", day(2), day(20), 99.0, "late")])

    assert example.run(start=day(1), end=day(2)) == (0, 2)
    assert example.values()["ann"] == (3.0, "b")


def test_more_rows_than_one_batch_are_all_written(tmp_path, monkeypatch):
    monkeypatch.setattr(logic, "BATCH", 2)
    example = Example(tmp_path, str(tmp_path / "online"))

    assert example.run() == (3, 0)
    assert example.values()["cem"] == (None, "c")


@contextlib.contextmanager
def feature_server(folder: str) -> Iterator[FeatureServer]:
    """Run Feast's own server on a folder."""
    port, feast = free_port(), Path(sys.executable).parent / "feast"
    command = [str(feast), "--chdir", folder, "serve", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:

        def is_up() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        assert polling.within(is_up, 120, 0.1)
        yield FeatureServer(f"http://127.0.0.1:{port}", 10.0)
        server.terminate()


def test_the_model_server_reads_feasts_own_server_and_sees_which_rows_there_are(tmp_path):
    example, features = Example(tmp_path, str(tmp_path / "online")), {"readings": ["value", "unit_y"]}
    example.run(end=day(0))
    with feature_server(example.store) as server:
        empty = server.read("who", ["ann", "cem"], features)
        example.run()
        rows = server.read("who", ["ann", "cem", "nobody"], features)["readings"]
        with pytest.raises(RequestRefused, match="status 404: Feature view readers does not exist") as no_view:
            server.read("who", ["ann"], {"readers": ["value"]})
        with pytest.raises(RequestRefused, match=r"status 500: .*other") as no_feature:
            server.read("who", ["ann"], {"readings": ["other"]})

    assert empty == {"readings": [None, None]}
    assert rows == [
        StoredRow(microseconds(day(3)), {"value": 3.0, "unit_y": "b"}),
        # Its row has no value, which is something else than no row.
        StoredRow(microseconds(day(9)), {"value": None, "unit_y": "c"}),
        None,
    ]
    assert (no_view.value.status, no_feature.value.status) == (503, 503)


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def test_the_summary_names_the_window_and_counts_by_view(tmp_path):
    example = Example(tmp_path, str(tmp_path / "online"))
    window = Window.parse("2024-01-02", "")
    logic.materialize(example.bundle, tmp_path / "snapshot", example.store, window).write(tmp_path / "out")

    summary = MaterializationSummary.read(tmp_path / "out")
    assert (summary.start, summary.end) == ("2024-01-02T00:00:00", "2024-01-09T00:00:00")
    assert [(view.view, view.written, view.kept) for view in summary.views] == [("readings", 2, 0)]


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("yesterday", "", "the window's start is 'yesterday'; expected an ISO time"),
        ("2024-01-02", "2024-01-01", "so it is empty; expected a start before the end"),
    ],
)
def test_a_wrong_window_is_one_sentence(start, end, sentence):
    with pytest.raises(InputError, match=sentence):
        Window.parse(start, end)


def test_a_time_with_a_zone_is_read_as_utc():
    assert Window.parse("2024-01-01T02:00:00+02:00", "").start == datetime(2024, 1, 1)


def test_a_redis_that_does_not_answer_is_one_sentence_without_the_password(tmp_path):
    example = Example(tmp_path, f"redis://:secret@127.0.0.1:{free_port()}?project=tiny")

    with pytest.raises(StepFailed, match="does not answer or refuses the command") as caught:
        example.run()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://somewhere", "expected a folder or redis://host:port"),
        ("redis://somewhere?colour=blue", "has the options"),
    ],
)
def test_a_wrong_address_is_one_sentence(address, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        Example(tmp_path, address).run()
