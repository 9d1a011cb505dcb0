"""``perennial release``: what becomes of a candidate that is exposed step by step, or waits for an approval."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from components.shared import audit
from components.shared.errors import InputError, PerennialError
from components.shared.incidents import announcing, store
from components.shared.incidents.incident import Sighting
from components.shared.release import analysis, trial
from components.shared.release.driver import Progress, ReleaseDriver
from components.shared.release.journal import Approval, ReleaseJournal, ReleaseUnderWay
from components.shared.release.machine import Phase
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import notifying
from pipelines.targets.protocol import Backend
from pipelines.targets.releasing import ReleasingBackend

_RECORDED = {
    "next step": "release step",
    "released": "release",
    "rolled back": "release aborted",
    "held": "release held",
}


def status(options: TargetOptions) -> None:
    """Show the release that is under way."""
    backend, console = _opened(options), terminal.console()
    # One whose process was killed is finished or taken back first; one that another process performs stays.
    backend.recover_release()
    journal = backend.release_under_way()
    if journal is None:
        console.print(f"no release is under way; {backend.endpoint_state()}", highlight=False)
        return
    if not journal.state.waiting:
        console.print(f"release {journal.version} is on its way ({journal.phase}); ask again", highlight=False)
        return
    console.print(_headline(journal), highlight=False, markup=False, soft_wrap=True)
    exposure = journal.exposure
    if exposure is None:
        return
    table = Table("", f"release {journal.version}", f"release {journal.former}", "evidence of harm", box=None)
    limit = len(analysis.CHECKS) / journal.plan.limits.false_rollbacks
    evidence = {check: f"{value:.3g} of {limit:g}" for check, value in exposure.e_values.items()}
    ours, theirs = exposure.candidate, exposure.champion
    table.add_row("requests", str(ours.requests), str(theirs.requests), "")
    table.add_row("failed", str(ours.failed), str(theirs.failed), evidence.get("failed", ""))
    table.add_row("refused", str(ours.refused), str(theirs.refused), evidence.get("refused", ""))
    if exposure.slow_ms is not None:
        slow = [str(analysis.slower(counts, exposure.slow_ms)) for counts in (ours, theirs)]
        table.add_row(f"slower than {exposure.slow_ms:g} ms", *slow, evidence.get("slow", ""))
    table.add_row("rows scored in ranges", str(sum(ours.scores)), str(sum(theirs.scores)), evidence.get("scores", ""))
    if exposure.shadow.rows:
        share = exposure.shadow.disagreements / exposure.shadow.rows
        table.add_row("other decisions", f"{share:.1%} of {exposure.shadow.rows} rows", "", "")
    if exposure.outcomes is not None and journal.plan.labels is not None:
        seen = exposure.outcomes
        table.add_row(
            "right alone", f"{seen.wins:,}", f"{seen.losses:,}", f"{seen.labeled:,} of {seen.due:,} due rows labeled"
        )
    console.print(table)
    if exposure.trial is not None and journal.plan.trial is not None:
        verdict = trial.judge(journal.plan.trial, exposure.trial)
        crossed = exposure.trial.arms.crossed
        both = f"; {crossed:,} entities were answered by both versions and count for neither" if crossed else ""
        console.print(f"A/B test: {verdict.reason}{both}", highlight=False, markup=False, soft_wrap=True)


def promote(options: TargetOptions) -> int:
    """Skip the steps that are left."""
    backend, console = _opened(options), terminal.console()
    return _decided(backend, console, backend.release_driver().promote(backend.account()))


def approve(options: TargetOptions, why: str | None) -> int:
    """Approve the candidate, as the account that runs this."""
    backend, console, now = _opened(options), terminal.console(), datetime.now(UTC)
    progress = backend.release_driver().approve(Approval(who=backend.account(), at=now, why=why))
    details = {"version": progress.journal.version, "account": backend.account(), "reasons": [why] if why else []}
    backend.audit.record("release approved", details)
    return _decided(backend, console, progress)


def abort(options: TargetOptions, why: str) -> int:
    """Take the candidate back."""
    backend, console = _opened(options), terminal.console()
    return _decided(backend, console, backend.release_driver().abort(why))


def watch(options: TargetOptions, *, once: bool) -> int:
    """Look at the release until it has ended, or once."""
    from components.shared import polling

    backend, console = _opened(options), terminal.console()
    backend.recover_release()
    if backend.release_under_way() is None:
        raise InputError("no release is under way; 'perennial status' says what answers.")
    driver = backend.release_driver()
    last = look(backend, driver, console)
    if once:
        if last is not None:
            console.print(last.reason, highlight=False, markup=False)
        return runs.OK
    try:
        while backend.release_under_way() is not None:
            polling.within(lambda: backend.release_under_way() is None, backend.look_every_s, backend.look_every_s / 5)
            backend.recover_release()
            look(backend, driver, console)
    except KeyboardInterrupt:
        console.print("the release goes on; 'perennial serve' or another 'perennial release watch' watches it")
    return runs.OK


def history(options: TargetOptions, last: int) -> None:
    """List what was decided about releases."""
    backend, console = _opened(options), terminal.console()
    entries = [entry for entry in audit.entries(backend.audit.path) if entry.kind.startswith(("release", "rollback"))]
    table = Table("when (UTC)", "who", "what", "version", "why", box=None)
    for entry in entries[-last:]:
        when = f"{datetime.fromisoformat(entry.at):%Y-%m-%d %H:%M:%S}"
        why = "; ".join(entry.details.get("reasons", ()))
        table.add_row(when, entry.who, entry.kind, str(entry.details.get("version", "")), why)
    console.print(table)


def look(backend: Backend, driver: ReleaseDriver, console: Console) -> Progress | None:
    """Go on with the release that waits, record what that led to, and say it; None if another process does so."""
    assert isinstance(backend, ReleasingBackend)
    try:
        progress = driver.advance(datetime.now(UTC))
    except ReleaseUnderWay:
        return None
    if progress is not None and progress.outcome in _RECORDED:
        _note(backend, progress, console)
    return progress


def _decided(backend: ReleasingBackend, console: Console, progress: Progress) -> int:
    if progress.outcome in _RECORDED:
        _note(backend, progress, console)
    else:
        console.print(f"release {progress.journal.version}: {progress.reason}", highlight=False, markup=False)
    return runs.OK


def _note(backend: ReleasingBackend, progress: Progress, console: Console) -> None:
    """Write what became of a release into the audit log, open an incident where it did harm, and say it."""
    journal, now = progress.journal, datetime.now(UTC)
    details: dict[str, Any] = {"version": journal.version, "strategy": journal.plan.strategy}
    details["reasons"] = [progress.reason]
    if journal.exposure is not None:
        details["evidence"] = {check: round(value, 3) for check, value in journal.exposure.e_values.items()}
    backend.audit.record(_RECORDED[progress.outcome], details)
    sentence = {
        "next step": _headline(journal),
        "released": f"release {journal.version} answers now: {progress.reason}",
        "rolled back": f"release {journal.version} is taken back, release {journal.former} answers: {progress.reason}",
        "held": f"release {journal.version} is held: {progress.reason}; 'perennial release promote' or 'abort' decides",
    }[progress.outcome]
    console.print(f"{now.astimezone():%H:%M:%S}  {sentence}", highlight=False, markup=False, soft_wrap=True)
    if progress.outcome == "rolled back" and progress.harmful:
        sighting = Sighting(
            run=journal.release.run_id or "", at=now.isoformat(), action="roll back", reasons=(sentence,), effect=None
        )
        try:
            with backend.incidents() as folders:
                incident = store.sighted(folders.incidents, "release", sighting)
                announcing.record(backend.project, folders, incident, now)
                # A cluster's own runs send what waits there, with the credentials that only they have.
                if not backend.is_remote:
                    notifying.deliver(backend.project, folders, console)
        except PerennialError as problem:
            # The version is taken back already, which is what matters most.
            console.print(f"no incident is opened: {problem}", style="yellow", highlight=False, markup=False)
        else:
            console.print(f"incident {incident.number} is open: 'perennial incidents show {incident.number}'")


def _headline(journal: ReleaseJournal) -> str:
    """Say where a release is, in one sentence."""
    who_answers = f"release {journal.former} answers" if journal.former else "nothing answers yet"
    if journal.phase is Phase.APPROVE:
        accounts = " or ".join(journal.plan.approvers)
        return f"release {journal.version} waits for the approval of {accounts}; {who_answers}"
    step = journal.plan.steps[journal.step]
    share = "copies of all requests" if step.mirrored else f"{step.share} % of the requests"
    of = f"step {journal.step + 1} of {len(journal.plan.exposures)}"
    told = f", held: {journal.held}" if journal.held else ""
    return f"release {journal.version} gets {share} ({journal.plan.strategy}, {of}{told}); {who_answers} otherwise"


def _opened(options: TargetOptions) -> ReleasingBackend:
    backend = options.open()
    if not isinstance(backend, ReleasingBackend):
        backend.check_machine()
        raise InputError(f"the target {backend.name!r} has no endpoint on this machine; releases there are basic.")
    return backend
