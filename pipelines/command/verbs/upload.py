"""``perennial upload``: the compiled pipeline as a version at the server, once."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.command import terminal
from pipelines.targets import state
from pipelines.targets.kfp import submission
from pipelines.targets.kfp.connection import Server


def upload(project: Path, *, target: str, overrides: Sequence[str], revision: str | None) -> None:
    """Upload the pipeline of a project under its git revision."""
    place, chosen = state.open_cluster(project, target, overrides)
    prepared = submission.prepare(place, chosen)
    version = submission.upload(
        Server(chosen), prepared.pipeline, prepared.documents, revision or submission.revision()
    )
    terminal.console().print(
        f"{'uploaded' if version.fresh else 'there already:'} {prepared.pipeline} version {version.name} ({version.id})"
    )
