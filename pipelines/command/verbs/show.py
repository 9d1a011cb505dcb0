"""``perennial show``: what a registered version is, where it came from, and how good it was."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markdown import Markdown
from rich.table import Table

from components.shared import registry
from components.shared.wording import significant
from pipelines.command import terminal
from pipelines.command.options import TargetOptions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_TEST = "test."


def show(options: TargetOptions, version: str | None, *, card: bool) -> None:
    """Print a version's origin and its metrics on the test rows, or its model card.

    Args:
        options: The project and its target.
        version: None is the champion.
        card: Print the model card instead.

    Raises:
        InputError: If there is no such version.
    """
    backend = options.open()
    console = terminal.console()
    client, registered = backend.registered(version)
    if card:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(client.download_artifacts(str(registered.run_id), "card.md", folder))
            console.print(Markdown(path.read_text(encoding="utf-8")))
        return
    run = client.get_run(str(registered.run_id))
    console.print(_origin(client, registered, run))
    console.print(_metrics(run))


def _origin(client: "MlflowClient", registered: "ModelVersion", run: "Run") -> Table:
    name, version = str(registered.name), str(registered.version)
    aliases = [alias for alias, holder in client.get_registered_model(name).aliases.items() if str(holder) == version]
    params, tags = run.data.params, run.data.tags
    rows = {part: params.get(f"split.rows.{part}") for part in ("train", "validation", "test")}
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in {
        "version": f"{version} of {name}" + (f" ({', '.join(sorted(aliases))})" if aliases else ""),
        "registered": f"{datetime.fromtimestamp(int(registered.creation_timestamp) / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "model": params.get("family"),
        "label": params.get("label"),
        "rows": ", ".join(f"{int(count):,} {part}" for part, count in rows.items() if count),
        "snapshot": tags.get(registry.SNAPSHOT, "")[:12],
        "code": tags.get("perennial.commit", "")[:12],
        "run": run.info.run_id,
    }.items():
        if value:
            table.add_row(label, value)
    return table


def _metrics(run: "Run") -> Table:
    """List the metrics on the test rows with their intervals, the main one in bold."""
    values = {name.removeprefix(_TEST): value for name, value in run.data.metrics.items() if name.startswith(_TEST)}
    table = Table("metric", "value", "interval", box=None, title="on the test rows", title_justify="left")
    for name in sorted(name for name in values if not name.endswith((".low", ".high"))):
        low, high = values.get(f"{name}.low"), values.get(f"{name}.high")
        interval = f"{significant(low)} - {significant(high)}" if low is not None and high is not None else ""
        style = "bold" if name == run.data.params.get("evaluation.primary") else ""
        table.add_row(name, significant(values[name]), interval, style=style)
    return table
