"""What the registry's database said is read again only when the database file has changed."""

import sqlite3

import pytest

from components.shared import files, registry_state
from components.shared.registry_state import RegistryEntries
from pipelines.targets.local import registry_reading
from pipelines.targets.model import Services
from pipelines.targets.state import State

ENTRIES = {"champion": ["3", "run", {"complete": "true"}, "s3://bucket/model"], "accepted": None}


@pytest.fixture
def state(tmp_path) -> State:
    """A project whose registry is a database that is not MLflow's, so that asking MLflow for a champion fails."""
    services = Services(
        registry=f"sqlite:///{tmp_path}/mlflow.db", studies="studies", endpoint="endpoint", online_store="online"
    )
    state = State(tmp_path, services)
    assert state.registry_file is not None
    state.registry_file.write_bytes(b"not a database")
    files.write_json(state.folder / "registry.json", {"version": version(state), "entries": ENTRIES})
    return state


def version(state: State, name: str = "churn") -> str | None:
    return registry_reading._database_version(state.registry_file, name)


def test_an_unchanged_database_is_not_opened(state):
    assert registry_reading.read(state, "churn") == registry_state.describe(RegistryEntries(**ENTRIES))


def test_a_changed_database_another_project_and_a_damaged_note_are_read_from_the_database(state):
    stored = registry_reading.read(state, "churn")
    assert stored is not None
    assert registry_reading.read(state, "other") is None
    (state.folder / "registry.json").write_text("{", encoding="utf-8")
    assert registry_reading.read(state, "churn") is None
    files.write_json(state.folder / "registry.json", {"version": version(state), "entries": ENTRIES})
    assert registry_reading.read(state, "churn") == stored
    assert state.registry_file is not None
    state.registry_file.write_bytes(b"not a database either")
    assert registry_reading.read(state, "churn") is None


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_database_with_an_open_transaction_is_read_from_the_database(state, suffix):
    (state.root / f"mlflow.db{suffix}").write_bytes(b"")
    assert registry_reading.read(state, "churn") is None


def test_a_written_row_changes_the_version(tmp_path):
    database = tmp_path / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table alias (version integer)")
    before = registry_reading._database_version(database, "churn")
    assert before == registry_reading._database_version(database, "churn")
    with sqlite3.connect(database) as connection:
        connection.execute("insert into alias values (1)")
    assert registry_reading._database_version(database, "churn") != before


def test_a_server_is_always_asked(tmp_path):
    assert registry_reading._database_version(None, "churn") is None
