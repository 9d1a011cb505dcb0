"""Perform a release: run the machine's effects against an endpoint, the registry and the journal; and recover one.

Nothing here knows the order of a release (``machine.py`` does) or the kind of endpoint (``Traffic``).
"""

import logging
import time
from collections.abc import Callable
from typing import Literal

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import PerennialError, StepFailed
from components.shared.release import machine
from components.shared.release.champion_alias import ChampionAlias
from components.shared.release.journal import JournalStore, ReleaseJournal
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
from components.shared.release.plan import BASIC, Plan
from components.shared.release.sample import Sample
from components.shared.release.traffic import Traffic

logger = logging.getLogger(__name__)

Outcome = Literal["released", "unchanged"]
Recovery = Literal["finished", "rolled back"]


class ReleaseDriver:
    """One endpoint's releases.

    Args:
        traffic: The endpoint.
        alias: The registry's alias.
        store: The endpoint's journal.
        load_sample: Reads the sample of a version's package.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        traffic: Traffic,
        alias: ChampionAlias,
        store: JournalStore,
        load_sample: Callable[[RegisteredVersion], Sample],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._traffic, self._alias, self._store, self._load_sample = traffic, alias, store, load_sample
        self._sleep = sleep
        self._samples: dict[str, Sample] = {}

    def release(self, release: RegisteredVersion, plan: Plan = BASIC) -> Outcome:
        """Release a version; the former one keeps answering if that fails.

        A release that a killed process left behind is finished or rolled back first.

        Returns:
            "unchanged" if this version answers already and is the champion.

        Raises:
            ReleaseUnderWay: If another process is releasing.
            PerennialError: If the release failed; it is rolled back, unless the message says otherwise.
        """
        with self._store.hold():
            self._recover()
            former, champion = self._traffic.answering(), self._alias.champion(release.name)
            if former == champion == release.version:
                return "unchanged"
            journal = ReleaseJournal(release=release, former=former, former_champion=champion, plan=plan)
            journal = self._traffic.describe(journal)
            self._sample(release)
            self._run(journal, machine.start(plan))
            logger.info("release %s of %s answers", release.version, release.name)
            return "released"

    def recover(self) -> Recovery | None:
        """Finish or roll back the release that a killed process left behind; None if there is none.

        Raises:
            ReleaseUnderWay: If its process is alive.
        """
        with self._store.hold():
            return self._recover()

    def _recover(self) -> Recovery | None:
        journal = self._store.read()
        if journal is None:
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

    def _run(self, journal: ReleaseJournal, first: machine.Transition) -> None:
        """Perform effects until the machine asks for no more; raise what went wrong."""
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
