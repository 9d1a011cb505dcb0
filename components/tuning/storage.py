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
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import ArgumentError, OperationalError

from components.shared.errors import InputError, StepFailed

log = logging.getLogger(__name__)
_HEARTBEAT_S = 30


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
    # Messages must not contain the password of the address.
    shown = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", address)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(address, heartbeat_interval=_HEARTBEAT_S, grace_period=3 * _HEARTBEAT_S)
    except (ImportError, ArgumentError) as error:
        raise InputError(
            f"study storage '{shown}' is not a usable database; expected a folder or postgresql://user@host/database. "
            "Correct 'services.studies' in the target file."
        ) from error
    except (OperationalError, optuna.exceptions.StorageInternalError) as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise StepFailed(f"study storage '{shown}' is not reachable: {cause}") from error


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
