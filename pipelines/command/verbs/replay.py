"""``perennial replay``: months of the shipped example in minutes, with the whole loop on."""

import shutil
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from components.shared.errors import InputError, StepFailed
from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import loop, monitor
from pipelines.replay import page, playing
from pipelines.replay.outcome import ReplayOutcome, ReplayWeek
from pipelines.replay.playing import Acted, Player
from pipelines.replay.scenarios import Scenario, scenario
from pipelines.replay.world import World
from pipelines.targets.opening import open_backend
from pipelines.targets.protocol import Backend
from pipelines.traffic import example

_START, _BEFORE_MONTHS = date(2024, 1, 1), 15
_FIRST = datetime(2025, 4, 1)
"""The first moment of traffic: the end of the months before."""
_CHANGE = date(2025, 5, 1)
_ORACLE_ROWS_DAYS, _ORACLE_AGAIN_DAYS, _ORACLE_ROWS = 28, 56, 1000
_QUICK: dict[str, dict[str, Any]] = {
    "tuning": {"trials": 0},
    "training": {"families": ["plain"]},
    "split": {"newest_days": 240, "validation": 0.25, "test": 0.25},
    "release": {"strategy": "basic", "approvers": []},
}
"""What a replay changes in the project file: trainings take seconds and look at the newest months."""
_CERTAIN: dict[str, Any] = {"value_positive": False, "min_class_rows": 5}
"""Rules of the gate that whoever knows that the world has changed does not need."""


def replay(options: TargetOptions, name: str, months: int) -> int:
    """Play, print a line a week, and write the picture."""
    played, console, began = scenario(name), terminal.console(), time.monotonic()
    shipped = options.open()
    shipped.check_machine()
    if not example.is_example(shipped):
        raise InputError("a replay needs the tables of the shipped example, whose drift can be switched on.")
    folder = shipped.state.folder / "replay" / name
    shutil.rmtree(folder, ignore_errors=True)
    console.print(
        f"simulating {months} months: {name}, the log of all runs is {folder / 'replay.log'}", highlight=False
    )
    last = _later(_FIRST, months)
    switches = played.switches(_CHANGE)
    world = World.simulate(folder / "world", _START, _BEFORE_MONTHS + months + 2, switches)
    ours = _project(shipped, folder / "ours", _QUICK)
    console.print("training the first model", highlight=False)
    trainer = Player(ours, world, pq.read_table(folder / "world" / "labels.parquet"))
    trainer.publish(_FIRST)
    if trainer.train() is None:
        raise StepFailed(f"the first model of the replay was not released; see 'perennial runs' in {folder / 'ours'}.")
    rows = pq.read_table(example.write(ours, months, switches) / example.ROWS)
    spans = list(playing.weeks(_FIRST, last))
    if played.costly:
        console.print("playing the months with the oracle", highlight=False)
    oracle = _oracle(played, folder, world, rows, spans)
    console.print("playing the months with the loop; gains in the project's currency", highlight=False)
    player = Player(ours, world, rows)
    with (folder / "replay.log").open("w", encoding="utf-8") as log, playing.serving(ours):
        quiet = Console(file=log, width=160)
        never = {end: player.ask(player.between(start, end), logged=False)[0] for start, end in spans}
        weeks = playing.play(
            player, spans, never, oracle or never, lambda: _act(ours, quiet), lambda week: _tell(week, console)
        )
    outcome = ReplayOutcome(
        scenario=name,
        currency=ours.project.value.currency if ours.project.value else "errors",
        changed=datetime(_CHANGE.year, _CHANGE.month, _CHANGE.day).isoformat() if switches else None,
        weeks=tuple(weeks),
        seconds=round(time.monotonic() - began, 1),
    )
    outcome.write(folder)
    page.write(outcome, folder / "replay.html")
    console.print(page.summary(outcome), highlight=False, markup=False, soft_wrap=True)
    console.print(f"picture  {(folder / 'replay.html').relative_to(shipped.state.root)}", highlight=False)
    return runs.OK


def _project(shipped: Backend, folder: Path, changes: dict[str, dict[str, Any]]) -> Backend:
    """Copy the project file and the features into a project of its own."""
    folder.mkdir(parents=True)
    root = shipped.state.root
    shutil.copytree(root / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(shipped.state.project_file, folder / "project.yaml")
    return _changed(folder, changes)


def _changed(folder: Path, changes: dict[str, dict[str, Any]]) -> Backend:
    """Change keys of the project file, and open the project."""
    path = folder / "project.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, keys in changes.items():
        content[section] = (content.get(section) or {}) | keys
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return open_backend(project=folder)


def _act(backend: Backend, log: Console) -> Acted:
    """Do one round of the loop."""
    before = routing.answering(backend.state.endpoint)
    decision = monitor.look(backend, log, None, None, wait=True).decision
    if decision is not None:
        loop.act(backend, decision, log)
    after = routing.answering(backend.state.endpoint)
    return Acted(decision, after if after != before else None)


def _oracle(
    played: Scenario,
    folder: Path,
    world: World,
    rows: Any,
    spans: Sequence[tuple[datetime, datetime]],
) -> dict[datetime, np.ndarray] | None:
    """Return what somebody acts on who knows when the change began; None where nothing that costs changes.

    The model is trained on labels from after the change: once there are four weeks of them and the gate lets the
    model pass, and again eight weeks later.
    """
    if not played.costly:
        return None
    shutil.copytree(folder / "ours", folder / "oracle")
    changed = datetime(_CHANGE.year, _CHANGE.month, _CHANGE.day)
    known = {"since": changed.replace(tzinfo=UTC).isoformat(), "since_rows": _ORACLE_ROWS}
    backend = _changed(folder / "oracle", {"split": known, "gate": _CERTAIN})
    delay = timedelta(days=backend.project.label.delay_days)
    due = changed + delay + timedelta(days=_ORACLE_ROWS_DAYS)
    acted_on: dict[datetime, np.ndarray] = {}
    player = Player(backend, world, rows)
    with playing.serving(backend):
        for start, end in spans:
            acted_on[end] = player.ask(player.between(start, end), logged=False)[0]
            if end >= due:
                player.publish(end)
                if player.train() is not None:
                    due = end + timedelta(days=_ORACLE_AGAIN_DAYS)
    return acted_on


def _tell(week: ReplayWeek, console: Console) -> None:
    advice = week.action or "no decision"
    cause = f" ({week.cause})" if week.cause else ""
    released = f"; release {week.released} takes over" if week.released else ""
    console.print(
        f"{week.end[:10]}  {week.rows:>4} rows  {week.gain:>8,.0f}  never {week.never:>8,.0f}  "
        f"oracle {week.oracle:>8,.0f}  {advice}{cause}{released}",
        highlight=False,
    )


def _later(moment: datetime, months: int) -> datetime:
    number = moment.year * 12 + moment.month - 1 + months
    return datetime(number // 12, number % 12 + 1, 1)
