"""The order of a release, defined once, as a pure state machine: (plan, state, event) -> (state, effects).

1. Place the candidate alongside the champion, without traffic.
2. Query it in isolation.
3. Expose it to a share of the traffic, as often as the plan says (the plan "basic" never does), and watch it there.
4. Wait for an approval, where the plan asks for one.
5. Commit: move the registry's alias.
6. Shift all traffic to the candidate and query the public name.
7. Clean up: remove the former version.

Whatever fails before step 7 is undone: traffic first, then the alias, then the candidate. While a candidate is watched
or waits for approval nothing is to be done, no process is needed, and any process may go on. The alias is the commit
point of a release that was killed: one that moved it is finished, any other is undone unless it was waiting. Here is
no I/O and no clock; ``driver.py`` performs the effects and reports what happened.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from components.shared.release.plan import Plan


class Phase(StrEnum):
    """Where a release is; the journal keeps it."""

    PLACE = "place"
    EXPOSE = "expose"
    WATCH = "watch"
    APPROVE = "approve"
    COMMIT = "commit"
    SHIFT = "shift"
    CLEAN_UP = "clean_up"
    UNDO = "undo"
    RELEASED = "released"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class ReleaseState:
    """A phase, and in ``EXPOSE`` and ``WATCH`` the index of the plan's step."""

    phase: Phase
    step: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing remains to be done."""
        return self.phase in (Phase.RELEASED, Phase.ROLLED_BACK)

    @property
    def waiting(self) -> bool:
        """Whether nothing is to be done until time has passed, requests have come, or somebody has decided."""
        return self.phase in (Phase.WATCH, Phase.APPROVE)


class ReleaseAction(StrEnum):
    """Effects without arguments."""

    PREPARE = "settle how the release is laid out"
    PLACE = "place the candidate"
    AWAIT_READY = "wait until the candidate is ready"
    QUERY_ISOLATED = "query the candidate in isolation"
    SCALE_UP = "give the candidate the champion's capacity"
    COMMIT = "move the alias to the candidate"
    QUERY_PUBLIC = "query the public name"
    RETIRE = "remove the former version"
    RESTORE_ALIAS = "give the alias back"
    REMOVE = "remove the candidate"
    CLOSE = "close the journal"


@dataclass(frozen=True)
class Record:
    """Write the state to the journal."""

    state: ReleaseState


@dataclass(frozen=True)
class Route:
    """Give the candidate a share of the traffic, in percent; the former version has the rest."""

    share: int
    mirrored: bool = False


@dataclass(frozen=True)
class Soak:
    """Let a step last, in seconds."""

    seconds: float


Effect = ReleaseAction | Record | Route | Soak


class Event(StrEnum):
    """What the driver reports: about the effects of a state, or what became of a release that was waiting.

    ``PASSED`` ends a step or is the approval; ``PROMOTED`` skips the remaining steps.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PASSED = "passed"
    PROMOTED = "promoted"


@dataclass(frozen=True)
class Resumed:
    """A new process found the journal of one that is gone.

    Args:
        committed: Whether the registry's alias names the candidate.
        serving: Whether the endpoint can be queried now; a local one can't while no server runs.
    """

    committed: bool
    serving: bool = True


class Transition(NamedTuple):
    """The next state, and what is to be done in it; no effects: stop here, or wait."""

    state: ReleaseState
    effects: tuple[Effect, ...]


def start(plan: Plan) -> Transition:
    """Begin a release."""
    effects = (
        ReleaseAction.PREPARE,
        ReleaseAction.PLACE,
        ReleaseAction.AWAIT_READY,
        ReleaseAction.QUERY_ISOLATED,
        ReleaseAction.SCALE_UP,
    )
    return _enter(ReleaseState(Phase.PLACE), *effects)


def transition(plan: Plan, state: ReleaseState, event: Event | Resumed) -> Transition:
    """Return what follows an event.

    >>> from components.shared.release.plan import BASIC
    >>> transition(BASIC, ReleaseState(Phase.PLACE), Event.FAILED).state.phase.name
    'UNDO'
    >>> transition(BASIC, ReleaseState(Phase.COMMIT), Resumed(committed=True)).state.phase.name
    'SHIFT'
    """
    if isinstance(event, Resumed):
        return _resume(plan, state, event)
    if event is Event.FAILED:
        # An undo or a clean-up that failed is tried again by the next release; neither can be undone itself.
        stuck = state.over or state.phase in (Phase.UNDO, Phase.CLEAN_UP)
        return Transition(state, ()) if stuck else _undo()
    if event in (Event.PASSED, Event.PROMOTED):
        return _go_on(plan, state, event)
    return _succeed(plan, state)


def _go_on(plan: Plan, state: ReleaseState, event: Event) -> Transition:
    """End the wait; in any other state there is nothing to end."""
    if state.phase is Phase.APPROVE:
        return _commit()
    if state.phase is Phase.WATCH:
        return _expose_or_commit(plan, state.step + 1 if event is Event.PASSED else len(plan.exposures))
    return Transition(state, ())


def _succeed(plan: Plan, state: ReleaseState) -> Transition:
    match state.phase:
        case Phase.PLACE:
            return _expose_or_commit(plan, 0)
        case Phase.EXPOSE if any(step.watched for step in plan.exposures[state.step : state.step + 1]):
            return _enter(ReleaseState(Phase.WATCH, state.step))
        case Phase.EXPOSE:
            return _expose_or_commit(plan, state.step + 1)
        case Phase.COMMIT:
            return _shift(plan)
        case Phase.SHIFT:
            return _enter(ReleaseState(Phase.CLEAN_UP), ReleaseAction.RETIRE, ReleaseAction.CLOSE)
        case Phase.CLEAN_UP:
            return Transition(ReleaseState(Phase.RELEASED), ())
        case Phase.UNDO:
            return Transition(ReleaseState(Phase.ROLLED_BACK), ())
        case _:
            return Transition(state, ())


def _resume(plan: Plan, state: ReleaseState, event: Resumed) -> Transition:
    match state.phase:
        case Phase.CLEAN_UP:
            return _enter(state, ReleaseAction.RETIRE, ReleaseAction.CLOSE)
        case Phase.COMMIT | Phase.SHIFT if event.committed and event.serving:
            return _shift(plan, ReleaseAction.PLACE, ReleaseAction.AWAIT_READY, ReleaseAction.SCALE_UP)
        case Phase.COMMIT | Phase.SHIFT if event.committed:
            return _enter(ReleaseState(Phase.SHIFT), Route(share=100))
        case Phase.RELEASED | Phase.ROLLED_BACK | Phase.WATCH | Phase.APPROVE:
            return Transition(state, ())
        case _:
            return _undo()


def _expose_or_commit(plan: Plan, index: int) -> Transition:
    if index >= len(plan.exposures):
        return _enter(ReleaseState(Phase.APPROVE)) if plan.approvers else _commit()
    step = plan.exposures[index]
    return _enter(ReleaseState(Phase.EXPOSE, index), Route(step.share, step.mirrored))


def _commit() -> Transition:
    return _enter(ReleaseState(Phase.COMMIT), ReleaseAction.COMMIT)


def _shift(plan: Plan, *before: Effect) -> Transition:
    last = plan.steps[-1]
    return _enter(ReleaseState(Phase.SHIFT), *before, Route(last.share), ReleaseAction.QUERY_PUBLIC, Soak(last.soak_s))


def _undo() -> Transition:
    return _enter(
        ReleaseState(Phase.UNDO), Route(share=0), ReleaseAction.RESTORE_ALIAS, ReleaseAction.REMOVE, ReleaseAction.CLOSE
    )


def _enter(state: ReleaseState, *effects: Effect) -> Transition:
    """Record the state before anything is done in it."""
    return Transition(state, (Record(state), *effects))
