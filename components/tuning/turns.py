"""Let workers of one study take turns at claiming trials, so that together they run no more than it has.

A claim counts the trials that have started and starts another one. In turns, no two workers count the same number; this
holds for processes that share a folder, and for machines that share a PostgreSQL database. Other databases are for one
machine with one worker.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy


@contextmanager
def turn(address: str, key: str) -> Iterator[None]:
    """Wait for a turn; it also ends when its process is killed or its machine loses the database.

    Args:
        address: A folder, or a database URL.
        key: The name of the study, or of what else happens in turns.
    """
    if "://" in address:
        with _in_database(address, key):
            yield
        return
    with (Path(address) / f"{key}.turn.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _in_database(address: str, key: str) -> Iterator[None]:
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect() as connection:
        # The server gives this lock to the next one when the transaction ends, also by a lost connection.
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
        yield
