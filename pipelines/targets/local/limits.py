"""What a step may use on this machine, from the project file's ``resources``, and the message when it exceeds that."""

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
    limits_of_steps = {}
    for step in steps:
        resources = project.resources.of(step)
        limits_of_steps[step] = Limits(
            cpus=_amount(resources.cpu_limit) if resources.cpu_limit else None,
            memory_bytes=int(_amount(resources.memory_limit)) if resources.memory_limit else None,
            timeout_s=resources.timeout_s,
        )
    return limits_of_steps


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
