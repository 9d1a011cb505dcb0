"""Run everything that CI requires: ``python -m tests [GROUP ...] [-- PYTEST ARGUMENTS]``.

A group is ``lint``, ``command`` (``pipelines/`` and whole runs), ``serving``, ``infra``, ``notebook``, a step, or a
variant of one. The tests of a step run in the virtualenv of that step, with the test tools beside its lock; steps with
equal locks share one pytest process. What handles times runs in UTC and in a second time zone. Several processes run
at once. The last line counts the tests of all groups; a test that is skipped for a reason that is not in
``allowed_skips.txt`` fails the run.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from components.shared import telemetry
from pipelines.command import notebook
from pipelines.images import environments, recipes
from tests.tally import Tally, read_reasons

TOOLS = environments.ROOT / "tests" / "requirements.txt"
ALLOWED_SKIPS = TOOLS.with_name("allowed_skips.txt")
NO_TESTS = 5
"""Exit code of pytest that found no test to run."""
MOST_JOBS = 4
"""More processes at once than this would fill the memory of a laptop."""
WAITING_JOBS = 1
"""Processes beyond the number of cores: whole runs and servers wait a part of their time."""
WITH_TIMES = ("ingestion", "split", "feature_retrieval", "skew_audit")
"""Steps that compare times, whose tests also run where the local time is not UTC."""
OTHER_ZONE = "America/St_Johns"
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy", "components", "pipelines", "serving", "tests"),
)


def main(arguments: Sequence[str]) -> int:
    """Run the groups named in ``arguments``, or all of them; return 1 if any failed, 2 if there is no such group."""
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    names, pytest_arguments = set(arguments[:separator]), arguments[separator + 1 :]
    if unknown := sorted(names - set(group_names())):
        print(f"there is no test group {', '.join(unknown)}; expected some of {sorted(group_names())}.")
        return 2
    began, tally = time.monotonic(), Tally()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job(
                group,
                _with_results(command, results := Path(folder, f"{group}-{number}.xml"), pytest_arguments),
                results,
                selective=bool(pytest_arguments),
            )
            for group, commands in groups(names).items()
            for number, command in enumerate(commands)
        ]
        failed = _run_all(jobs)
        for job in jobs:
            tally.add(job.results)
    for line in tally.skipped_lines():
        print(line)
    unexpected = tally.unexpected(read_reasons(ALLOWED_SKIPS))
    for reason in unexpected:
        print(f"tests may not be skipped because of {reason!r}; provide what is missing, or add it to {ALLOWED_SKIPS}")
    if failed:
        print(f"failed groups: {' '.join(failed)}")
    print(f"{tally} in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed or unexpected else 0


@dataclass(frozen=True)
class Job:
    """One process of the test run."""

    group: str
    command: Sequence[str]
    results: Path
    """Where pytest writes its JUnit XML."""
    selective: bool = False
    """Pytest got arguments that may deselect every test."""


def _with_results(command: list[str], results: Path, pytest_arguments: Sequence[str]) -> list[str]:
    if "pytest" not in command:
        return command
    # Skipped tests are listed once, at the end.
    return [*command, "-rfE", f"--junitxml={results}", *pytest_arguments]


def _run_all(jobs: Sequence[Job]) -> list[str]:
    """Run more jobs at once than there are cores, each with its output in one piece; return the groups that failed.

    A single job writes to the terminal while it runs.
    """
    if len(jobs) == 1:
        [job] = jobs
        print(f"== {job.group}: {' '.join(job.command[:6])}", flush=True)
        return [] if _run(job, sys.stdout) else [job.group]
    with ThreadPoolExecutor(min((os.cpu_count() or 1) + WAITING_JOBS, MOST_JOBS)) as pool:
        return list(dict.fromkeys(group for group in pool.map(_run_aside, jobs) if group))


def _run_aside(job: Job) -> str | None:
    """Run a job, then print all it wrote; return its group if it failed."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        passed = _run(job, output)
        output.seek(0)
        print(f"== {job.group}: {' '.join(job.command[:6])}\n{output.read()}", end="", flush=True)
    return None if passed else job.group


def _run(job: Job, output: TextIO) -> bool:
    began = time.monotonic()
    code = subprocess.run(job.command, cwd=environments.ROOT, env=_env(), stdout=output, stderr=output).returncode
    # Where pytest was asked for some tests only, a process may well have none of them.
    passed = code == 0 or (code == NO_TESTS and job.selective)
    if output.seekable():
        output.seek(0, os.SEEK_END)
    print(f"== {job.group}: {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s", file=output)
    output.flush()
    return passed


def group_names() -> list[str]:
    """Return the names that can be asked for."""
    return ["lint", *_tested_steps(), *recipes.variants(), "serving", "infra", "notebook", "command"]


def groups(names: set[str]) -> dict[str, list[list[str]]]:
    """Map each named group, or every one, to its commands; groups that share a virtualenv are joined by ``+``."""
    own = Path(sys.executable).parent
    tests = environments.ROOT / "tests"
    commands: dict[str, list[list[str]]] = {}
    # The longest first, so that no core is idle at the end.
    if not names or "command" in names:
        # The ignored folders need packages that the command does not have; their doctests run with their own tests.
        doctests = ["components/shared", "components/gate", "pipelines"]
        ignored = [
            f"components/shared/{folder}" for folder in ("features", "learning", "measures", "package", "sequential")
        ]
        # Whole runs take so long that they are several processes.
        apart = [
            [str(tests / "end_to_end" / f"test_{name}.py") for name in names]
            for names in (("kills", "monitoring"), ("releases", "tfx"))
        ]
        ignored_here = [f"--ignore={path}" for paths in apart for path in paths]
        commands["command"] = [
            [str(own / "python"), "-m", "pytest", str(tests / "pipelines")],
            [str(own / "python"), "-m", "pytest", str(tests / "end_to_end"), *ignored_here],
            *([str(own / "python"), "-m", "pytest", *paths] for paths in apart),
            [str(own / "python"), "-m", "pytest", "--doctest-modules", *doctests]
            + [f"--ignore={folder}" for folder in [*ignored, "pipelines/bench"]],
        ]
    by_lock: dict[str, list[str]] = {}
    for step in _tested_steps():
        if not names or step in names:
            by_lock.setdefault(environments.lock_hash(step), []).append(step)
    for steps in by_lock.values():
        commands["+".join(steps)] = [_in_step(steps[0], [f"components/{step}" for step in steps])]
    for name, folder in recipes.variants().items():
        if not names or name in names:
            commands[name] = [_in_step(name, [f"components/{folder.parent.name}"])]
    for step in (step for step in WITH_TIMES if not names or step in names):
        commands[f"{step} in {OTHER_ZONE}"] = [["env", f"TZ={OTHER_ZONE}", *_in_step(step, [f"components/{step}"])]]
    # The server's lock holds the SDKs that know every field of a manifest.
    if servers := [name for name in ("serving", "infra") if not names or name in names]:
        commands["+".join(servers)] = [_in_step("serving", servers)]
    if not names or "notebook" in names:
        commands["notebook"] = [[str(notebook.python()), "-m", "pytest", str(tests / "notebooks")]]
    if not names or "lint" in names:
        commands["lint"] = [[str(own / tool[0]), *tool[1:]] for tool in LINT]
    return commands


def _tested_steps() -> list[str]:
    """Return the steps that have tests; the conformance test reports a step without."""
    return [step for step in environments.steps() if (environments.ROOT / "tests" / "components" / step).is_dir()]


def _in_step(step: str, folders: Sequence[str]) -> list[str]:
    python = environments.virtualenv(TOOLS, environments.lock_of(step), announce=_announce, name=step)
    return [str(python), "-m", "pytest", *(str(environments.ROOT / "tests" / folder) for folder in folders)]


def _announce(name: str) -> None:
    print(f"installing the virtualenv of {name} with the test tools", flush=True)


def _env() -> dict[str, str]:
    # Without bytecode every process would compile its heavy libraries again.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Several processes at once: each with a thread per core would wait for the others most of the time.
    return kept | {"TZ": "UTC", "OMP_NUM_THREADS": "1"} | telemetry.OFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
