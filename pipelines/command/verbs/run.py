"""``perennial run``: one training run with its live view, its report and, if asked, one real question."""

from collections.abc import Sequence
from pathlib import Path

from pipelines import api, runs
from pipelines.command import terminal
from pipelines.command.verbs import summary
from pipelines.targets import state


def run(
    project: Path,
    *,
    target: str = "laptop",
    overrides: Sequence[str] = (),
    seed: int,
    use_cache: bool,
    wait: bool,
    simulate: bool,
    ask: bool,
) -> int:
    """Run the training pipeline of a project on this machine.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console = terminal.console()
    place = state.open_state(project, target, overrides)
    if simulate and (rows := api.simulate(project)):
        console.print(f"simulated {', '.join(f'{count:,} {table}' for table, count in sorted(rows.items()))}")
    with api.submitted(
        project, target=target, overrides=overrides, seed=seed, use_cache=use_cache, wait=wait, console=console
    ) as done:
        summary.show(done.record, done.page, place.root, console)
        if ask and done.record.exit_code == runs.OK:
            summary.ask(place.endpoint, done.record, console)
    assert done.record.exit_code is not None
    return done.record.exit_code
