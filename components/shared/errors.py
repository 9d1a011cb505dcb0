"""What can go wrong for a reason that the user can act on; each class carries the exit code of the command."""

import errno
import re
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the command ends with; the README lists the meanings."""

    OK = 0
    BUG = 1
    BAD_INPUT = 2
    REJECTED = 3
    BLOCKED = 4
    FAILED = 5
    INTERRUPTED = 130


class PerennialError(Exception):
    """Printed as one sentence, without a traceback; every other exception is a bug and keeps its own."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class InputError(PerennialError):
    """A project file, table, flag or request is invalid."""

    exit_code = ExitCode.BAD_INPUT


class GateRejected(PerennialError):
    """The gate rejected the candidate; the champion stays."""

    exit_code = ExitCode.REJECTED


class DataBlocked(PerennialError):
    """The data has anomalies that stop a run, as the project file demands."""

    exit_code = ExitCode.BLOCKED


class StepFailed(PerennialError):
    """A step failed, or something that it needs."""


DISK_FULL = "the disk is full; free some space ('perennial gc' removes old runs) and run again."
# The wording of the system, SQLite and DuckDB.
_DISK_FULL = re.compile(
    rf"No space left on device|database or disk is full|failed to offload data block|\[Errno {errno.ENOSPC}\]"
)


def is_disk_full(problem: BaseException | str) -> bool:
    """Tell whether an exception, or the last line of a traceback, says that the disk is full.

    >>> is_disk_full(OSError(28, "No space left on device")), is_disk_full(OSError(13, "Permission denied"))
    (True, False)
    >>> is_disk_full("sqlite3.OperationalError: database or disk is full")
    True
    >>> is_disk_full("Out of Memory Error: failed to offload data block of size 256.0 KiB (9.8 GiB/9.8 GiB used).")
    True
    """
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return True
    return _DISK_FULL.search(str(problem)) is not None


def exit_code_named(error_class: str) -> ExitCode:
    """Return the exit code of an error by its class's name, as a traceback in a step's log shows it.

    A log does not show inheritance: the name of a class that is defined elsewhere, by a step, means a failed step.

    >>> exit_code_named("InputError").name, exit_code_named("ApiRefused").name
    ('BAD_INPUT', 'FAILED')
    """
    named = {error.__name__: error.exit_code for error in PerennialError.__subclasses__()}
    return named.get(error_class, PerennialError.exit_code)
