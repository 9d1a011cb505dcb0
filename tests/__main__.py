"""Run everything that CI requires: ``python -m tests [GROUP ...] [-- PYTEST ARGUMENTS]``.

A group is ``lint``, ``command`` (``pipelines/`` and whole runs), ``serving``, ``infra``, ``notebook`` or a step. The
tests of a step run in the virtualenv of that step, with the test tools beside its lock; steps with equal locks share
one pytest process. The last line counts the tests of all groups.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from components.shared import telemetry
from pipelines.command import notebook
from pipelines.images import environments
from tests.tally import Tally

TOOLS = environments.ROOT / "tests" / "requirements.txt"
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
    began, tally, failed = time.monotonic(), Tally(), []
    with tempfile.TemporaryDirectory() as folder:
        for group, commands in groups(names).items():
            for number, command in enumerate(commands):
                results = Path(folder, f"{group}-{number}.xml")
                if "pytest" in command:
                    # Skipped tests are listed once, at the end.
                    command = [*command, "-rfE", f"--junitxml={results}", *pytest_arguments]
                if not _run(group, command):
                    failed.append(group)
                tally.add(results)
    for line in tally.skipped_lines():
        print(line)
    if failed:
        print(f"failed groups: {' '.join(dict.fromkeys(failed))}")
    print(f"{tally} in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


def group_names() -> list[str]:
    """Return the names that can be asked for."""
    return ["lint", *_tested_steps(), "serving", "infra", "notebook", "command"]


def groups(names: set[str]) -> dict[str, list[list[str]]]:
    """Map each named group, or every one, to its commands; groups that share a virtualenv are joined by ``+``."""
    own = Path(sys.executable).parent
    tests = environments.ROOT / "tests"
    commands: dict[str, list[list[str]]] = {}
    if not names or "lint" in names:
        commands["lint"] = [[str(own / tool[0]), *tool[1:]] for tool in LINT]
    by_lock: dict[str, list[str]] = {}
    for step in _tested_steps():
        if not names or step in names:
            by_lock.setdefault(environments.lock_hash(step), []).append(step)
    for steps in by_lock.values():
        commands["+".join(steps)] = [_in_step(steps[0], [f"components/{step}" for step in steps])]
    # The server's lock holds the SDKs that know every field of a manifest.
    if servers := [name for name in ("serving", "infra") if not names or name in names]:
        commands["+".join(servers)] = [_in_step("serving", servers)]
    if not names or "notebook" in names:
        commands["notebook"] = [[str(notebook.python()), "-m", "pytest", str(tests / "notebooks")]]
    if not names or "command" in names:
        # The ignored folders need packages that the command does not have; their doctests run with their own tests.
        doctests = ["components/shared", "components/gate", "pipelines"]
        ignored = [f"components/shared/{folder}" for folder in ("features", "learning", "measures", "package")]
        commands["command"] = [
            [str(own / "python"), "-m", "pytest", str(tests / "pipelines"), str(tests / "end_to_end")],
            [str(own / "python"), "-m", "pytest", "--doctest-modules", *doctests]
            + [f"--ignore={folder}" for folder in [*ignored, "pipelines/bench"]],
        ]
    return commands


def _tested_steps() -> list[str]:
    """Return the steps that have tests; the conformance test reports a step without."""
    return [step for step in environments.steps() if (environments.ROOT / "tests" / "components" / step).is_dir()]


def _in_step(step: str, folders: Sequence[str]) -> list[str]:
    python = environments.virtualenv(TOOLS, environments.lock_of(step), announce=_announce, name=step)
    return [str(python), "-m", "pytest", *(str(environments.ROOT / "tests" / folder) for folder in folders)]


def _run(group: str, command: Sequence[str]) -> bool:
    print(f"== {group}: {' '.join(command[:6])}", flush=True)
    began = time.monotonic()
    code = subprocess.run(command, cwd=environments.ROOT, env=_env()).returncode
    print(f"== {group}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def _announce(name: str) -> None:
    print(f"installing the virtualenv of {name} with the test tools", flush=True)


def _env() -> dict[str, str]:
    # Without bytecode every process would compile its heavy libraries again.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | telemetry.OFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
