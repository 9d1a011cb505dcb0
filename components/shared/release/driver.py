"""Perform a release: run the machine's effects against an endpoint, the registry and the journal; and recover one.

Nothing here knows the order of a release (``machine.py`` does) or the kind of endpoint (``Traffic``).
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, PerennialError, StepFailed
from components.shared.release import analysis, machine
from components.shared.release.analysis import Exposure
from components.shared.release.champion_alias import ChampionAlias
from components.shared.release.journal import Approval, JournalStore, ReleaseJournal
from components.shared.release.machine import (
    Effect,
    Event,
    Phase,
    Record,
    ReleaseAction,
    ReleaseState,
    Resumed,
    Route,
    Soak,
)
from components.shared.release.outcomes import PairedOutcomes
from components.shared.release.plan import BASIC, Plan
from components.shared.release.sample import Sample
from components.shared.release.traffic import Traffic
from components.shared.release.trial import Trial

logger = logging.getLogger(__name__)

LateOutcomes = PairedOutcomes | Trial
"""What became known of rows that were answered before: of a shadow's pairs, or of the two groups of an A/B test."""
Outcome = Literal["released", "unchanged", "waiting"]
Recovery = Literal["finished", "rolled back"]


class Progress(NamedTuple):
    """What became of a release that was waiting.

    Attributes:
        outcome: "waiting" (nothing has changed), "next step", "to approve", "held", "released" or "rolled back".
        reason: Why.
        journal: The release, with the evidence.
        harmful: Whether it is taken back because it did harm.
    """

    outcome: Literal["waiting", "next step", "to approve", "held", "released", "rolled back"]
    reason: str
    journal: ReleaseJournal
    harmful: bool = False


class ReleaseDriver:
    """One endpoint's releases.

    Args:
        traffic: The endpoint.
        alias: The registry's alias.
        store: The endpoint's journal.
        load_sample: Reads the sample of a version's package.
        sleep: Waits for a number of seconds.
        outcomes: Reads what labels or outcomes say at a time of a release that is exposed; None where nobody can.
    """

    def __init__(
        self,
        traffic: Traffic,
        alias: ChampionAlias,
        store: JournalStore,
        load_sample: Callable[[RegisteredVersion], Sample],
        sleep: Callable[[float], None] = time.sleep,
        outcomes: Callable[[ReleaseJournal, datetime], LateOutcomes | None] | None = None,
    ) -> None:
        self._outcomes = outcomes
        self._traffic, self._alias, self._store, self._load_sample = traffic, alias, store, load_sample
        self._sleep = sleep
        self._samples: dict[str, Sample] = {}

    def release(self, release: RegisteredVersion, plan: Plan = BASIC) -> Outcome:
        """Release a version; the former one keeps answering if that fails.

        A release that a killed process left behind is finished or rolled back first, and one of another version that
        waits is taken back.

        Returns:
            "unchanged" if this version answers already, from the server that its release names, and is the champion;
            "waiting" if the plan exposes it or asks for an approval, then ``advance`` and ``approve`` go on.

        Raises:
            ReleaseUnderWay: If another process is releasing.
            PerennialError: If the release failed; it is rolled back, unless the message says otherwise.
        """
        with self._store.hold():
            self._recover()
            if (waiting := self._store.read()) is not None:
                if waiting.version == release.version:
                    return "waiting"
                logger.info("release %s, which was under way, gives way to %s", waiting.version, release.version)
                waiting = waiting.model_copy(update={"withdrawn": f"release {release.version} was begun"})
                self._run(waiting, machine.transition(waiting.plan, waiting.state, Event.FAILED))
            former, champion = self._traffic.answering(), self._alias.champion(release.name)
            if former == champion == release.version:
                if not self._traffic.refresh(release, lambda: self._sample(release)):
                    return "unchanged"
                logger.info("release %s of %s answers from another server image", release.version, release.name)
                return "released"
            if former is None:
                plan = plan.at_first_release()
            journal = ReleaseJournal(release=release, former=former, former_champion=champion, plan=plan)
            journal = self._traffic.describe(journal)
            self._sample(release)
            if self._run(journal, machine.start(plan)).state.waiting:
                logger.info("release %s of %s is exposed or waits for approval", release.version, release.name)
                return "waiting"
            logger.info("release %s of %s answers", release.version, release.name)
            return "released"

    def advance(self, now: datetime) -> Progress | None:
        """Look at a release that is watched: go on, take it back, or go on waiting; None if none is under way.

        Raises:
            ReleaseUnderWay: If another process is releasing.
            PerennialError: If going on failed; the release is rolled back, unless the message says otherwise.
        """
        with self._store.hold():
            journal = self._store.read()
            if journal is None or not journal.state.waiting:
                return None
            if journal.phase is Phase.APPROVE:
                if journal.approval is not None:
                    return self._went_on(journal, Event.PASSED, f"approved by {journal.approval.who}")
                accounts = " or ".join(journal.plan.approvers)
                return Progress("to approve", f"it waits for the approval of {accounts}", journal)
            if journal.held is not None:
                return Progress("waiting", f"it is held: {journal.held}", journal)
            return self._look(journal, now)

    def approve(self, approval: Approval) -> Progress:
        """Let a candidate take over as soon as it has passed its steps.

        Raises:
            InputError: If nothing waits, or this account may not approve.
        """
        with self._store.hold():
            journal = self._waiting()
            if not journal.plan.approvers:
                raise InputError(f"release {journal.version} needs no approval; 'perennial release status' shows it.")
            if approval.who not in journal.plan.approvers:
                raise InputError(
                    f"{approval.who!r} may not approve release {journal.version}; the project file names "
                    f"{list(journal.plan.approvers)} as release.approvers."
                )
            journal = journal.model_copy(update={"approval": approval})
            self._store.write(journal)
            if journal.phase is Phase.APPROVE:
                return self._went_on(journal, Event.PASSED, f"approved by {approval.who}")
            return Progress("waiting", f"approved by {approval.who}; its steps go on", journal)

    def promote(self, who: str) -> Progress:
        """Skip the remaining steps of the release that is watched; an approval that is needed is not skipped.

        Raises:
            InputError: If no release is watched.
        """
        with self._store.hold():
            journal = self._waiting()
            if journal.phase is Phase.APPROVE:
                return Progress("to approve", f"it waits for the approval of {list(journal.plan.approvers)}", journal)
            return self._went_on(journal, Event.PROMOTED, f"promoted by {who}")

    def abort(self, reason: str) -> Progress:
        """Take back the release that is watched or waits, and withdraw it: a retry does not begin it again.

        Raises:
            InputError: If none does.
        """
        with self._store.hold():
            return self._withdraw(self._waiting(), reason)

    def _waiting(self) -> ReleaseJournal:
        self._recover()
        journal = self._store.read()
        if journal is None:
            raise InputError("no release is under way; 'perennial status' says what answers.")
        return journal

    def _look(self, journal: ReleaseJournal, now: datetime) -> Progress:
        """Add the newest counts to the evidence and do what it asks for."""
        journal, counts, unread, down = self._traffic.counts(journal)
        if down is not None:
            return self._take_back(
                journal.model_copy(update={"harm": down.reason if down.harmful else None}), down.reason
            )
        exposure = journal.exposure or Exposure(step=journal.step, began=now)
        if exposure.step != journal.step:
            exposure = exposure.following(journal.step, now)
        if counts is None and unread is None:
            reason = "the endpoint's counts can't be read now, so nothing is judged"
            if not self._traffic.serving():
                reason = "no server runs, so nothing is counted"
            return Progress("waiting", reason, journal)
        if journal.former is not None and counts is not None:
            exposure = analysis.look(
                exposure, counts, former=journal.former, candidate=journal.version, limits=journal.plan.limits
            )
        journal = journal.model_copy(update={"exposure": exposure})
        unknown = ""
        if journal.plan.waits_for_outcomes and self._outcomes is not None:
            try:
                exposure = analysis.learn(exposure, self._outcomes(journal, now))
            except PerennialError as problem:
                # Harm and the deadline are judged nevertheless.
                unknown = f"; {problem}"
            journal = journal.model_copy(update={"exposure": exposure})
        self._store.write(journal)
        verdict = analysis.judge(journal.plan, journal.plan.steps[journal.step], exposure, now, unread)
        match verdict.outcome:
            case "pass":
                return self._went_on(journal, Event.PASSED, verdict.reason)
            case "inconclusive" if journal.plan.inconclusive == "hold":
                journal = journal.model_copy(update={"held": verdict.reason})
                self._store.write(journal)
                return Progress("held", verdict.reason, journal)
            case "fail":
                return self._take_back(journal.model_copy(update={"harm": verdict.reason}), verdict.reason)
            case "inconclusive":
                return self._withdraw(journal, verdict.reason)
            case _:
                return Progress("waiting", verdict.reason + unknown, journal)

    def _withdraw(self, journal: ReleaseJournal, reason: str) -> Progress:
        return self._take_back(journal.model_copy(update={"withdrawn": reason}), reason)

    def _take_back(self, journal: ReleaseJournal, reason: str) -> Progress:
        """Undo a release; what fails of that is added to the reason, and the next recovery completes it."""
        try:
            self._run(journal, machine.transition(journal.plan, journal.state, Event.FAILED))
        except PerennialError as problem:
            reason = f"{reason}; {problem}"
        return Progress("rolled back", reason, journal, harmful=journal.harm is not None)

    def _went_on(self, journal: ReleaseJournal, event: Event, reason: str) -> Progress:
        """Let the machine go on, past an approval that was given before; say where it is now.

        Without a server nothing could be queried, and the candidate would be taken back for that.
        """
        if not self._traffic.serving():
            return Progress("waiting", "no server runs, so nothing can take over; start one and try again", journal)
        journal = journal.model_copy(update={"held": None})
        after = self._run(journal, machine.transition(journal.plan, journal.state, event))
        if after.phase is Phase.APPROVE and after.approval is not None:
            after = self._run(after, machine.transition(after.plan, after.state, Event.PASSED))
        if not after.state.waiting:
            return Progress("released", reason, after)
        return Progress("to approve" if after.phase is Phase.APPROVE else "next step", reason, after)

    def recover(self) -> Recovery | None:
        """Finish or roll back the release that a killed process left behind; None if there is none, or it waits.

        Raises:
            ReleaseUnderWay: If its process is alive.
        """
        with self._store.hold():
            return self._recover()

    def _recover(self) -> Recovery | None:
        journal = self._store.read()
        if journal is None or journal.state.waiting:
            return None
        committed = self._alias.champion(journal.name) == journal.version
        event = Resumed(committed, self._traffic.serving())
        first = machine.transition(journal.plan, journal.state, event)
        finishing = first.state.phase is not Phase.UNDO
        try:
            self._run(journal, first)
        except PerennialError as failure:
            if self._store.read() is not None:
                raise
            # It was to be finished, failed, and is rolled back: who asked for another release may go on.
            logger.error("release %s of %s: %s", journal.version, journal.name, failure)
            finishing = False
        outcome: Recovery = "finished" if finishing else "rolled back"
        logger.info("release %s of %s, which was cut short, is %s", journal.version, journal.name, outcome)
        return outcome

    def _run(self, journal: ReleaseJournal, first: machine.Transition) -> ReleaseJournal:
        """Perform effects until the machine asks for no more, and return the journal; raise what went wrong."""
        state, effects = first
        failures: list[tuple[ReleaseState, BaseException]] = []
        while effects:
            try:
                for effect in effects:
                    journal = self._perform(effect, journal)
                event = Event.SUCCEEDED
            except BaseException as failure:
                failures.append((state, failure))
                event = Event.FAILED
            state, effects = machine.transition(journal.plan, state, event)
        if failures:
            raise _failed(journal, failures)
        return journal.in_state(state)

    def _sample(self, release: RegisteredVersion) -> Sample:
        """Read a version's sample once; it may be in a bucket."""
        if release.version not in self._samples:
            self._samples[release.version] = self._load_sample(release)
        return self._samples[release.version]

    def _perform(self, effect: Effect, journal: ReleaseJournal) -> ReleaseJournal:
        match effect:
            case Record(state):
                journal = journal.in_state(state)
                self._store.write(journal)
            case Route(share, mirrored):
                self._traffic.route(journal, share, mirrored=mirrored)
            case Soak(seconds):
                self._sleep(seconds)
            case ReleaseAction.PREPARE:
                prepared = self._traffic.prepare(journal)
                if prepared != journal:
                    journal = prepared
                    self._store.write(journal)
            case ReleaseAction.PLACE:
                self._traffic.place(journal)
            case ReleaseAction.AWAIT_READY:
                self._traffic.await_ready(journal)
            case ReleaseAction.QUERY_ISOLATED:
                self._traffic.query(journal, self._sample(journal.release), isolated=True)
            case ReleaseAction.SCALE_UP:
                self._traffic.scale_up(journal)
            case ReleaseAction.COMMIT:
                self._alias.move(journal.name, journal.version)
            case ReleaseAction.QUERY_PUBLIC:
                self._traffic.query(journal, self._sample(journal.release), isolated=False)
            case ReleaseAction.RETIRE:
                self._traffic.retire(journal)
            case ReleaseAction.RESTORE_ALIAS:
                # Whoever moved the alias elsewhere meanwhile had a reason.
                if self._alias.champion(journal.name) == journal.version:
                    self._alias.move(journal.name, journal.former_champion)
            case ReleaseAction.REMOVE:
                self._traffic.remove(journal)
            case ReleaseAction.CLOSE:
                if journal.harm is not None:
                    self._alias.take_back(journal.name, journal.version, journal.harm)
                if journal.withdrawn is not None:
                    self._alias.withdraw(journal.release, journal.withdrawn)
                self._store.write(None)
        return journal


def _failed(journal: ReleaseJournal, failures: list[tuple[ReleaseState, BaseException]]) -> BaseException:
    """Return what to raise: the first failure, and the second where the undo failed, too."""
    state, failure = failures[0]
    *_, (_, last) = failures
    if not isinstance(last, Exception):
        return last
    if state.phase is Phase.CLEAN_UP:
        error = StepFailed(
            f"release {journal.version} answers, but cleaning up after it failed: {_line(failure)} "
            "Run again to finish it."
        )
    elif len(failures) > 1 or state.phase is Phase.UNDO:
        error = StepFailed(
            f"release {journal.version} failed ({_line(failure)}) and could not be rolled back ({_line(last)}); "
            "fix that, the next command or release rolls it back."
        )
    elif isinstance(failure, PerennialError):
        return failure
    else:
        error = StepFailed(f"release {journal.version} failed and is rolled back: {_line(failure)}")
    error.__cause__ = failure
    return error


def _line(failure: BaseException) -> str:
    """Return a message of ours as it is, and any other on one line with its class."""
    text = " ".join(str(failure).split())
    return text if isinstance(failure, PerennialError) else f"{type(failure).__name__}: {text}"
