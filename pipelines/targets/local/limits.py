"""What a step may use on this machine, from the project file's ``resources``, and what is said when it wanted more."""

from collections.abc import Iterable, Mapping
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


def of(project: Project, steps: Iterable[str]) -> Mapping[str, Limits]:
    """Return the limits of steps, from the project file's amounts as Kubernetes writes them."""
    found = {}
    for step in steps:
        wanted = project.resources.of(step)
        found[step] = Limits(
            cpus=_amount(wanted.cpu_limit) if wanted.cpu_limit else None,
            memory_bytes=int(_amount(wanted.memory_limit)) if wanted.memory_limit else None,
            timeout_s=wanted.timeout_s,
        )
    return found


def _amount(quantity: str) -> float:
    # The client takes two seconds to import, and a project without limits needs nothing of it.
    from kubernetes.utils import parse_quantity

    return float(parse_quantity(quantity))


def hung(output: IO[bytes], timeout_s: float | None) -> int:
    """Close a step's log with why it was ended, and return its exit code."""
    say(
        output,
        f"it did not end within {timeout_s:g} s, its timeout_s under 'resources' in the project file; "
        "raise it or fix the step.",
    )
    return TIMED_OUT


def say(output: IO[bytes], sentence: str) -> None:
    """Write the last line of a step's log: what ended it, in the words in which ``runs.cause`` reads an error."""
    output.write(f"\ncomponents.shared.errors.StepFailed: {sentence}\n".encode())
    output.flush()
