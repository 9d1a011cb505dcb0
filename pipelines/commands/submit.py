"""``perennial submit``: one training run on a cluster, followed to its end."""

from collections.abc import Sequence
from pathlib import Path

from pipelines import runs, state, terminal
from pipelines.cluster import running


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
    record = running.submit(
        place,
        chosen,
        console,
        seed=seed,
        use_cache=use_cache,
        experiment=experiment,
        source_root=source_root,
        wait=wait,
    )
    if record.exit_code is None:
        return runs.OK
    running.show_end(record, console)
    return record.exit_code
