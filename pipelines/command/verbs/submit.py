"""``perennial submit``: one training run on a cluster, followed to its end."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipelines import runs
from pipelines.command import terminal
from pipelines.command.verbs import summary
from pipelines.targets import state
from pipelines.targets.kfp import training


def submit(
    project: Path,
    *,
    target: str,
    overrides: Sequence[str],
    seed: int,
    use_cache: bool,
    experiment: str | None,
    source_root: str | None,
    wait: bool,
) -> int:
    """Submit a run and, unless told otherwise, wait for its end.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console = terminal.console()
    place, chosen = state.open_cluster(project, target, overrides)
    record = training.train(
        place,
        chosen,
        seed=seed,
        use_cache=use_cache,
        experiment=experiment,
        source_root=source_root,
        wait=wait,
        console=console,
    )
    if not wait:
        return runs.OK
    if record.exit_code in (runs.OK, runs.REJECTED) and "evaluation.report" in record.artifacts:
        summary.show(record, training.page(record), place.root, console)
    else:
        show_end(record, console)
    assert record.exit_code is not None
    return record.exit_code


def show_end(record: runs.Run, console: Console) -> None:
    """Say how a run ended, why, and which command shows more."""
    if record.exit_code == runs.OK:
        console.print("[bold green]finished[/]; what it measured and released is in the registry")
        return
    if record.exit_code == runs.REJECTED:
        console.print("[bold]rejected by the gate[/]; the champion stays.")
        console.print(f"more    perennial logs {record.remote} gate", highlight=False)
        return
    failed = next((step for step in record.steps if step.error and step.error == record.reason), None)
    where = f"{failed.name}: " if failed else ""
    console.print(f"[bold red]{record.state}[/]: {escape(where + (record.reason or 'unknown'))}")
    console.print(f"more    perennial logs {record.remote}{f' {failed.name}' if failed else ''}", highlight=False)
