"""What one task costs beyond its own work: our adapter next to kfp's own runner, with and without virtualenvs.

``python -m pipelines.bench.orchestration FOLDER`` prints seconds per task as JSON; it runs in the command's virtualenv.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl, local

from pipelines.bench import repeats
from pipelines.definitions import compilation
from pipelines.images import environments
from pipelines.targets.laptop.ahead import InterpretersAhead
from pipelines.targets.laptop.processes import ProcessGroups
from pipelines.targets.laptop.runtime import Processes
from pipelines.targets.local import execution

TASKS = 5
OURS, ONE_INTERPRETER = "perennial", "kfp's SubprocessRunner, all tasks in one interpreter"
VIRTUALENVS = "kfp's SubprocessRunner, a virtualenv per task, which installs kfp"


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def nothing(number: int) -> int:
    """Return the argument."""
    return number


@dsl.component(base_image="python:3.11")
def nothing_installed(number: int) -> int:
    """Return the argument, as kfp means it: a fresh virtualenv gets kfp installed first."""
    return number


@dsl.pipeline(name="chain")
def chain() -> None:
    """Run tasks that do nothing, one after another."""
    last = nothing(number=1)
    for _ in range(TASKS - 1):
        last = nothing(number=last.output)


@dsl.pipeline(name="chain-installed")
def chain_installed() -> None:
    """Run the same chain in virtualenvs made for each task."""
    last = nothing_installed(number=1)
    for _ in range(TASKS - 1):
        last = nothing_installed(number=last.output)


class _Silent:
    def started(self, step: str, log: Path) -> None:
        """Nothing."""

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        """Nothing."""

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        """Nothing."""


def measure(folder: Path) -> dict[str, list[float]]:
    """Return seconds per task of each way to run the chain; none where it could not run (no network, say).

    The last way is run once: what takes longest of it is the installation, and its tasks are repetitions already.
    """
    chains = {
        OURS: lambda turn: _ours(folder / f"ours-{turn}"),
        ONE_INTERPRETER: lambda turn: _stock(folder / f"plain-{turn}", use_venv=False),
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        measured = repeats.in_turns(chains)
        try:
            measured[VIRTUALENVS] = [repeats.seconds(lambda: _stock(folder / "venv", use_venv=True))]
        except RuntimeError:
            measured[VIRTUALENVS] = []
    return {name: [chain_s / TASKS for chain_s in chains_s] for name, chains_s in measured.items()}


def _ours(folder: Path) -> None:
    folder.mkdir(parents=True)
    [environment] = environments.prepare(["gate"]).values()
    compiler.Compiler().compile(chain, str(folder / "chain.yaml"))
    symbolic = yaml.safe_load((folder / "chain.yaml").read_text(encoding="utf-8"))
    ir = compilation.with_references(symbolic, {"gate": environment.reference})
    with ProcessGroups() as groups, InterpretersAhead(groups) as ahead:
        tasks = Processes({"gate": environment}, groups, {}, ahead)
        execution.execute(ir, {}, {"gate": environment.reference}, tasks, _Silent(), folder, None)


def _stock(folder: Path, use_venv: bool) -> None:
    local.init(local.SubprocessRunner(use_venv=use_venv), pipeline_root=str(folder))
    (chain_installed if use_venv else chain)()


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
