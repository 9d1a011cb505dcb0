"""Credentials come from the environment and reach the driver, and nothing else."""

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from components.ingestion import logic
from components.shared.errors import InputError
from components.shared.project import Project

PASSWORD = "s3cr3t/p@ss:word"


class Chatty(SQLiteDialect_pysqlite):
    """A driver that answers when the password is right, and tells the whole URL when it is wrong."""

    name = "chatty"
    supports_statement_cache = False

    def create_connect_args(self, url: sa.URL) -> Any:
        if url.username == "reader" and url.password == PASSWORD:
            return [":memory:"], {}
        raise ValueError(f"cannot log in with {url.render_as_string(hide_password=False)} or {url.password}")


registry.register("chatty", __name__, "Chatty")


@pytest.fixture(autouse=True)
def _reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.impls["chatty"] = lambda: Chatty


def project(database: str = "chatty://host/db", variable: str | None = "DATABASE_LOGIN") -> Project:
    query = "SELECT 1 AS id, '2024-01-01' AS at, 0 AS y"
    return Project.model_validate(
        {
            "name": "trial",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"table": {"database": database, "query": query, "credentials_env": variable}},
            "label": {"source": "table", "column": "y"},
            "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
        }
    )


def everything_written(folder: Path, log: str) -> bytes:
    return log.encode() + b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_driver_gets_the_credentials_and_no_file_or_log_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DATABASE_LOGIN", f"reader:{PASSWORD}")

    assert logic.ingest(project(), str(tmp_path), tmp_path / "snapshot").rows == 1
    written = everything_written(tmp_path, caplog.text)
    assert PASSWORD.encode() not in written
    assert b"reader" not in written


def test_a_driver_that_tells_the_password_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wr0ng/p@ss:word"
    monkeypatch.setenv("DATABASE_LOGIN", f"reader:{wrong}")
    with pytest.raises(InputError, match="cannot log in") as caught:
        logic.ingest(project(), str(tmp_path), tmp_path / "snapshot")
    shown = "".join(traceback.format_exception(caught.value)).encode() + everything_written(tmp_path, caplog.text)

    assert b"wr0ng" not in shown
    assert b"***" in shown


@pytest.mark.parametrize(("value", "said"), [(None, "is not set"), ("reader", "is without a colon")])
def test_an_absent_or_unusable_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    monkeypatch.delenv("DATABASE_LOGIN", raising=False)
    if value is not None:
        monkeypatch.setenv("DATABASE_LOGIN", value)
    with pytest.raises(InputError, match=f"DATABASE_LOGIN {said}"):
        logic.ingest(project(), str(tmp_path), tmp_path / "snapshot")


def test_a_password_in_the_project_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'database' contains a password") as caught:
        logic.ingest(project("chatty://reader:hunter2@host/db", None), str(tmp_path), tmp_path / "snapshot")

    assert "hunter2" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="driver 'psycopg2' is not installed"):
        logic.ingest(project("postgresql+psycopg2://host/db", None), str(tmp_path), tmp_path / "snapshot")
