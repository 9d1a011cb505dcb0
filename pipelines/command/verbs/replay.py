"""``perennial replay``: months of the shipped example in minutes, with the whole loop on."""

import shutil
import time
from datetime import date, datetime
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from components.shared.errors import InputError, StepFailed
from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import loop, monitor
from pipelines.replay import oracle, page, playing, projects, seeds
from pipelines.replay.outcome import ReplayOutcome, ReplayWeek
from pipelines.replay.playing import Acted, Player
from pipelines.replay.scenarios import Scenario, scenario
from pipelines.replay.treatment import Treatment
from pipelines.replay.world import World
from pipelines.targets.protocol import Backend
from pipelines.traffic import example

_START, _BEFORE_MONTHS = date(2024, 1, 1), 15
_FIRST = datetime(2025, 4, 1)
"""The first moment of traffic: the end of the months before."""
_CHANGE = date(2025, 5, 1)
_CHANGES = datetime(_CHANGE.year, _CHANGE.month, _CHANGE.day)


def replay(options: TargetOptions, name: str, months: int, first_seed: int, count: int) -> int:
    """Play a scenario once per seed, print a line a week, and write the pictures."""
    played, console = scenario(name), terminal.console()
    shipped = options.open()
    shipped.check_machine()
    if not example.is_example(shipped):
        raise InputError("a replay needs the tables of the shipped example, whose drift can be switched on.")
    folder = shipped.state.folder / "replay" / name
    shutil.rmtree(folder, ignore_errors=True)
    shipped.state.create_folder()
    outcomes = []
    for seed in range(first_seed, first_seed + count):
        own = folder if count == 1 else folder / f"seed-{seed}"
        if count > 1:
            console.print(f"seed {seed}", style="bold", highlight=False)
        outcomes.append((seed, _replay(shipped, played, name, months, seed, own, console)))
        console.print(f"picture  {(own / 'replay.html').relative_to(shipped.state.root)}", highlight=False)
    if count > 1:
        results = seeds.summarised(outcomes)
        results.write(folder)
        console.print(seeds.sentence(results), highlight=False, markup=False, soft_wrap=True)
    return runs.OK


def _replay(
    shipped: Backend, played: Scenario, name: str, months: int, seed: int, folder: Path, console: Console
) -> ReplayOutcome:
    """Play a scenario with one seed in a folder of its own."""
    began = time.monotonic()
    console.print(
        f"simulating {months} months: {name}, the log of all runs is {folder / 'replay.log'}", highlight=False
    )
    switches, treatment = played.switches(_CHANGE), Treatment(played.persuaded, _CHANGES, seed)
    world = World.simulate(folder / "world", _START, _BEFORE_MONTHS + months + 2, switches, seed)
    ours = projects.copied(shipped, folder / "ours", played)
    console.print("training the first model", highlight=False)
    trainer = Player(ours, world, pq.read_table(folder / "world" / "labels.parquet"), treatment)
    trainer.publish(_FIRST)
    if trainer.train() is None:
        raise StepFailed(f"the first model of the replay was not released; see 'perennial runs' in {folder / 'ours'}.")
    rows = pq.read_table(example.write(ours, months, switches, seed) / example.ROWS)
    spans = list(playing.weeks(_FIRST, _later(_FIRST, months)))
    best = None
    if played.costly:
        console.print("playing the months with the oracle", highlight=False)
        best = oracle.acted_on(folder, world, rows, spans, _CHANGES, treatment)
    console.print("playing the months with the loop; gains in the project's currency", highlight=False)
    player = Player(ours, world, rows, treatment)
    with (folder / "replay.log").open("w", encoding="utf-8") as log, playing.serving(ours):
        quiet = Console(file=log, width=160)
        never = {end: player.ask(player.between(start, end), logged=False)[0] for start, end in spans}
        weeks = playing.play(
            player, spans, never, best or never, lambda: _act(ours, quiet), lambda week: _tell(week, console)
        )
    outcome = ReplayOutcome(
        scenario=name,
        currency=ours.project.value.currency if ours.project.value else "errors",
        changed=_CHANGES.isoformat() if played.changes else None,
        weeks=tuple(weeks),
        seconds=round(time.monotonic() - began, 1),
    )
    outcome.write(folder)
    page.write(outcome, folder / "replay.html")
    console.print(page.summary(outcome), highlight=False, markup=False, soft_wrap=True)
    return outcome


def _act(backend: Backend, log: Console) -> Acted:
    """Do one round of the loop."""
    before = routing.answering(backend.state.endpoint)
    decision = monitor.look(backend, log, None, None, wait=True).decision
    if decision is not None:
        loop.act(backend, decision, log)
    after = routing.answering(backend.state.endpoint)
    return Acted(decision, after if after != before else None)


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
