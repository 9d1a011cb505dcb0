"""Run everything that CI requires: ``python -m tests [ROOM ...] [-- PYTEST ARGUMENTS]``.

The tests of a step run in the virtualenv of that step, with the test tools beside its lock; steps with equal locks
share one pytest process. A room is ``lint``, ``command`` (pipelines and end to end), ``serving``, ``notebook``
or a step.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from components.shared import telemetry
from pipelines.command import notebook
from pipelines.images import environments

TOOLS = environments.ROOT / "tests" / "requirements.txt"
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy", "components", "pipelines", "serving"),
)


def main(arguments: list[str]) -> int:
    """Run the rooms named in ``arguments``, or all of them; return 1 if any failed."""
    names, _, passed_on = " ".join(arguments).partition("--")
    chosen, extra = set(names.split()), passed_on.split()
    failed = []
    for room, commands in rooms().items():
        if chosen and not chosen & set(room.split("+")):
            continue
        for command in commands:
            print(f"== {room}: {' '.join(command[-4:])}", flush=True)
            began = time.monotonic()
            code = subprocess.run([*command, *extra], cwd=environments.ROOT, env=_env()).returncode
            print(f"== {room}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
            failed += [room] if code else []
    if failed:
        print(f"failed rooms: {' '.join(sorted(set(failed)))}", flush=True)
    return 1 if failed else 0


def rooms() -> dict[str, list[list[str]]]:
    """Map each room to its commands; a room without tests is left to the conformance test."""
    own = Path(sys.executable).parent
    tests = environments.ROOT / "tests"
    found: dict[str, list[list[str]]] = {"lint": [[str(own / tool[0]), *tool[1:]] for tool in LINT]}
    by_lock: dict[str, list[str]] = {}
    for step in environments.steps():
        if (tests / "components" / step).is_dir():
            by_lock.setdefault(environments.lock_hash(step), []).append(step)
    groups = [(steps, [str(tests / "components" / step) for step in steps]) for steps in by_lock.values()]
    # The server's lock holds the SDKs that know every field of a manifest.
    groups.append((["serving", "infra"], [str(tests / "serving"), str(tests / "infra")]))
    for steps, folders in groups:
        python = environments.virtualenv(TOOLS, environments.lock_of(steps[0]), announce=_announce, name=steps[0])
        found["+".join(steps)] = [[str(python), "-m", "pytest", *folders]]
    found["notebook"] = [[str(notebook.python()), "-m", "pytest", str(tests / "notebooks")]]
    # The others need packages that the command does not have; their doctests run with their own tests.
    doctests = ["components/shared", "components/gate", "pipelines"]
    needing_more = (
        "components/shared/learning",
        "components/shared/measures",
        "components/shared/package",
        "pipelines/bench",
    )
    left_out = [f"--ignore={folder}" for folder in needing_more]
    found["command"] = [
        [str(own / "python"), "-m", "pytest", str(tests / "pipelines"), str(tests / "end_to_end")],
        [str(own / "python"), "-m", "pytest", "--doctest-modules", *doctests, *left_out],
    ]
    return found


def _announce(name: str) -> None:
    print(f"installing the virtualenv of {name} with the test tools", flush=True)


def _env() -> dict[str, str]:
    # Bytecode is kept: without it every process compiles its heavy libraries anew.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | telemetry.OFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
