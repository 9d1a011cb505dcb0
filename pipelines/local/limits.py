"""What a step may use on this machine, from the project file's ``resources``, and what is said when it wanted more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from components.shared.project import Project

# The exit code of coreutils' timeout.
TIMED_OUT = 124


@dataclass(frozen=True)
class Limits:
    """The most that a step may take; None is no limit."""

    cpus: float | None = None
    memory_bytes: int | None = None
    timeout_s: float | None = None


def of(project: Project) -> Mapping[str, Limits]:
    """Return the limits of those steps that have any."""
    return {}


def hung(output: IO[bytes], timeout_s: float | None) -> int:
    """Close a step's log with why it was ended, and return its exit code."""
    say(
        output, f"it did not end within {timeout_s:g} s, the step's timeout_s under 'resources'; raise that or mend it."
    )
    return TIMED_OUT


def say(output: IO[bytes], sentence: str) -> None:
    """Write the last line of a step's log: what ended it, in the words in which ``runs.cause`` reads an error."""
    output.write(f"\ncomponents.shared.errors.StepFailed: {sentence}\n".encode())
    output.flush()
