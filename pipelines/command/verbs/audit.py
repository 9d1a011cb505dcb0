"""``perennial audit``: what was decided about a project's model, and whether that record is what was written."""

from datetime import datetime

import click

from components.shared import audit
from components.shared.errors import InputError, StepFailed
from pipelines.audit.recording import AuditLog
from pipelines.command.options import TargetOptions
from pipelines.targets.local.backend import LocalBackend


def show(options: TargetOptions, last: int) -> None:
    """List the newest entries."""
    for entry in list(audit.entries(_opened(options)[0].path))[-last:]:
        subject = entry.details.get("version") or entry.details.get("action") or entry.details.get("incident")
        what = f"{entry.kind} {subject}" if subject is not None else entry.kind
        run = f", run {entry.details['run']}" if "run" in entry.details else ""
        click.echo(
            f"{entry.number:>5}  {datetime.fromisoformat(entry.at):%Y-%m-%d %H:%M:%S} UTC  {entry.who}: {what}{run}"
        )
        for rule in entry.details.get("rules", ()):
            if not rule["passed"]:
                click.echo(f"       - {rule['reason']}")
        for reason in entry.details.get("reasons", ()):
            click.echo(f"       - {reason}")


def verify(options: TargetOptions) -> None:
    """Check the whole log against itself and against the heads that are kept elsewhere.

    Raises:
        StepFailed: If it is not what was written.
    """
    log, backend = _opened(options)
    client = backend.open_registry()
    if problems := log.problems(client):
        raise StepFailed(f"the audit log {log.path} is not what was written: {'; '.join(problems)}.")
    count = sum(1 for _ in audit.entries(log.path))
    known = ", ".join(f"{where} knows {head.number}" for where, head in log.heads(client).items())
    click.echo(f"{count} entries, none of them edited, removed or added later ({known or 'no head is kept'})")


def _opened(options: TargetOptions) -> tuple[AuditLog, LocalBackend]:
    backend = options.open()
    backend.check_machine()
    assert isinstance(backend, LocalBackend)
    if not backend.audit.path.exists():
        raise InputError(f"there is no audit log yet; expected {backend.audit.path}, which the first run makes.")
    return backend.audit, backend
