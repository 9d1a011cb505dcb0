"""Store studies persistently: in a journal file, or in a database for several machines."""

import fcntl
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

# Imported after TensorFlow, psycopg aborts the process at its first connection (free(): invalid pointer).
import psycopg  # noqa: F401
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError

from components.shared.errors import InputError, PerennialError, StepFailed
from components.tuning.turns import turn

log = logging.getLogger(__name__)
_HEARTBEAT_S = 30
GRACE_S = 3 * _HEARTBEAT_S
"""Seconds without a heartbeat after which a worker on another machine counts as dead."""


class _FlockLock(JournalFileOpenLock):
    """A lock that the kernel releases when a process is killed; Optuna's own would persist for 30 seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def storage(address: str, key: str) -> optuna.storages.BaseStorage:
    """Open the storage of one study.

    Args:
        address: A folder, or a database URL (``postgresql://...``).
        key: The name of the study and of its journal.
    """
    if "://" in address:
        return _database(address)
    folder = Path(address)
    folder.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(folder / f"{key}.journal"), _FlockLock(folder / f"{key}.write.lock"))
    return optuna.storages.JournalStorage(backend)


def _database(address: str) -> optuna.storages.BaseStorage:
    shown = _without_password(address)
    try:
        # The first machine creates Optuna's tables, which fails on a second one that creates them at the same moment.
        with turn(address, "tables"), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                address,
                # A database that was restarted between two trials has closed every connection.
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=_HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1),
            )
    except (ImportError, ArgumentError) as error:
        raise InputError(
            f"study storage '{shown}' is not a usable database; expected a folder or postgresql://user@host/database. "
            "Correct 'services.studies' in the target file."
        ) from error
    except (OperationalError, optuna.exceptions.StorageInternalError) as error:
        raise StepFailed(f"study storage '{shown}' is not reachable: {_cause(error)}") from error


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Run trials on a storage that may go away meanwhile.

    Raises:
        StepFailed: If the database stops answering.
    """
    try:
        yield
    except PerennialError:
        raise
    except Exception as error:
        # Optuna meets the failed request with errors of its own, UnboundLocalError among them.
        lost = next((cause for cause in _chain(error) if isinstance(cause, (InterfaceError, OperationalError))), None)
        if lost is None:
            raise
        raise StepFailed(
            f"study storage '{_without_password(address)}' stopped answering: {_cause(lost)}. Finished trials are "
            "kept; run again when it is back, and the study goes on."
        ) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error).splitlines()[0].rstrip(". ")


def _without_password(address: str) -> str:
    """Return an address as a message may show it.

    >>> _without_password("postgresql://user:secret@host/studies")
    'postgresql://user:***@host/studies'
    """
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", address)


@contextmanager
def exclusive(address: str, key: str) -> Iterator[None]:
    """Lock the study of a folder for this process, and repair a journal whose last line is incomplete."""
    if "://" in address:
        yield
        return
    folder = Path(address)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key}.run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process runs study %s; waiting for it", key)
            fcntl.flock(lock, fcntl.LOCK_EX)
        _repair(folder / f"{key}.journal")
        yield


def _repair(journal: Path) -> None:
    """Truncate a journal after its last complete line."""
    if journal.exists() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        with journal.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)
