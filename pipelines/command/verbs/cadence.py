"""``perennial cadence``: recommend when to retrain, by a backtest on the project's history."""

from rich.console import Console
from rich.table import Table

from components.shared.documents.cadence import Cadence, PolicyCost
from components.shared.wording import significant
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.targets.protocol import RunRequest

_ARTIFACT = "cadence.recommendation"


def cadence(options: TargetOptions) -> int:
    """Run the pipeline ``cadence``, and print what each policy would have cost.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    backend, console = options.open(), terminal.console()
    backend.check_machine()
    with backend.start(RunRequest("cadence"), View(console)) as started:
        page = started.follow()
        record = started.record
        if record.exit_code == runs.OK and _ARTIFACT in record.artifacts:
            show(Cadence.read(record.artifacts[_ARTIFACT]), console)
        summary.show(record, page, backend.state.root, console)
    assert record.exit_code is not None
    return record.exit_code


def show(document: Cadence, console: Console) -> None:
    """Print every policy, the recommended one marked."""
    table = Table("", "retrain", "trainings", f"saved per 30 days, {document.unit}", "95 % interval", box=None)
    for policy in document.policies:
        table.add_row("✓" if policy.name == document.recommended else "", *_row(policy))
    table.add_row("", *_row(document.hindsight))
    console.print(table)


def _row(policy: PolicyCost) -> tuple[str, str, str, str]:
    has_interval = policy.saved_low is not None and policy.kind != "hindsight"
    interval = f"{significant(policy.saved_low)} to {significant(policy.saved_high)}" if has_interval else ""
    return policy.name, str(policy.trainings), significant(policy.saved), interval
