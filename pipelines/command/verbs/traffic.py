"""``perennial traffic``: send the endpoint the rows of a table, or of the simulator, at a set rate."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from components.shared.documents.model_facts import ModelFacts
from components.shared.errors import StepFailed
from pipelines import api
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.simulator.switches import parse_switch
from pipelines.targets.local import endpoint
from pipelines.traffic import example, sending


def traffic(
    options: TargetOptions,
    table: Path | None,
    *,
    rate: float,
    rows_per_request: int,
    months: int,
    switches: Sequence[str],
) -> int:
    """Send the rows, and say what answered and what to do next."""
    backend = options.open()
    backend.check_machine()
    console = terminal.console()
    server = endpoint.find(backend.state.endpoint)
    if server is None:
        raise StepFailed("no server runs on the endpoint of this project; start one with 'perennial serve' first.")
    simulated = None
    if table is None:
        chosen = [parse_switch(text) for text in switches]
        console.print(f"simulating {months} months after those of the project's tables", highlight=False)
        simulated = example.write(backend, months, chosen)
        table = simulated / example.ROWS
    with tempfile.TemporaryDirectory(prefix="perennial-traffic-") as work:
        folder = Path(work)
        _, package = backend.model_package(None, folder)
        features = {feature.name: feature.type for feature in ModelFacts.read(package).features}
        types = api.training_types(backend)
        questions = sending.read(backend.project, backend.state.root, features, types, table, folder, rows_per_request)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("sending", total=len(questions))
            sent = sending.send(
                questions,
                server.url,
                backend.project.name,
                rate,
                lambda done: progress.update(task, completed=done),
            )
    versions = ", ".join(sent.versions)
    console.print(
        f"sent {sent.rows:,} rows in {sent.requests:,} requests in {sent.seconds:.1f} s; release {versions} answered",
        highlight=False,
    )
    if simulated is not None:
        labels = (simulated / example.LABELS).relative_to(backend.state.root)
        console.print(f"their labels: perennial labels add {labels}", highlight=False)
    return 0
