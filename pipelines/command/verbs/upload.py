"""``perennial upload``: the compiled pipeline as a version at the server, once."""

from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.definitions import catalog


def upload(options: TargetOptions, *, pipeline: str, revision: str | None) -> None:
    """Upload a pipeline of a project under its git revision."""
    backend = options.open()
    backend.check_server()
    version = backend.upload(catalog.entry(pipeline), revision)
    terminal.console().print(
        f"{'uploaded' if version.fresh else 'there already:'} {version.pipeline} version {version.name} ({version.id})"
    )
