"""Whatever fails, and wherever a process is killed, some version answers every request and one truth remains."""

import contextlib
import doctest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.shared.documents.release import RegisteredVersion
from components.shared.documents.traffic_counts import TrafficCounts, VersionCounts
from components.shared.errors import InputError, StepFailed
from components.shared.project import Project, ReleaseSettings
from components.shared.release import machine, plan, routing, strategy
from components.shared.release.driver import LateOutcomes, ReleaseDriver
from components.shared.release.journal import Approval, ReleaseJournal, ReleaseUnderWay
from components.shared.release.machine import Event, Phase, ReleaseState, Resumed
from components.shared.release.outcomes import LabelCriterion, PairedOutcomes
from components.shared.release.plan import BASIC, Plan, PlanStep
from components.shared.release.sample import Sample
from components.shared.release.traffic import Counted, Down
from components.shared.release.trial import Arm, Arms, Trial, TrialLook, TrialPlan
from tests import documents

NAME = "model"
CANARY = Plan(
    strategy="canary",
    steps=(PlanStep(share=0, mirrored=True), PlanStep(share=20), PlanStep(share=50), PlanStep(share=100)),
)
"""Exposes without watching: one process carries it out."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WATCHED = Plan(
    strategy="canary",
    steps=(
        PlanStep(share=0, mirrored=True, min_requests=10),
        PlanStep(share=20, soak_s=60, min_requests=10, deadline_s=3600),
        PlanStep(share=100),
    ),
)
APPROVED = WATCHED.model_copy(update={"approvers": ("ada",)})
Fault = Literal["ok", "fail before", "fail after", "kill before", "kill after"]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, not even an undo."""


@dataclass
class World:
    """An endpoint, the registry and the journal, which outlive every process; and the faults that are to come."""

    placed: set[str] = field(default_factory=set)
    shares: dict[str, int] = field(default_factory=dict)
    mirrors: set[str] = field(default_factory=set)
    champion: str | None = None
    journal: ReleaseJournal | None = None
    holder: object | None = None
    serving: bool = True
    faults: list[Fault] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    had_champion: bool = False
    counts: TrafficCounts | None = None
    unread: str | None = None
    down: Down | None = None
    harmful: dict[str, str] = field(default_factory=dict)
    withdrawn: dict[str, str] = field(default_factory=dict)
    killed: bool = False
    error: BaseException | None = None
    """What fails instead of a sentence of ours."""

    def act(self, name: str, change: Callable[[], None]) -> None:
        """Change the world, unless the next fault prevents it; the invariants hold after every change."""
        if self.killed:
            raise Killed
        fault = self.faults.pop(0) if self.faults else "ok"
        self.killed = fault.startswith("kill")
        self.actions.append(f"{name}: {fault}")
        if fault == "kill before":
            raise Killed
        if fault == "fail before":
            raise self.error or StepFailed(f"{name} failed")
        change()
        self.check()
        if fault == "kill after":
            raise Killed
        if fault == "fail after":
            raise StepFailed(f"{name} failed after it was done")

    def check(self) -> None:
        answered = sum(share for version, share in self.shares.items() if version in self.placed)
        assert sum(self.shares.values()) in (0, 100), self.actions
        assert answered == 100 or not self.had_champion, f"{100 - answered} % of the requests are lost: {self.actions}"
        assert self.mirrors <= self.placed, self.actions

    def request(self, champion: int, candidate: int, failed: int = 0) -> None:
        """Let requests come since the last look."""
        before = self.counts.versions if self.counts else {"1": VersionCounts(), "2": VersionCounts()}
        added = {"1": (champion, 0), "2": (candidate - failed, failed)}
        versions = {
            version: VersionCounts(
                answered=counts.answered + added[version][0], failed=counts.failed + added[version][1]
            )
            for version, counts in before.items()
        }
        self.counts = TrafficCounts(server="s", versions=versions)

    def at_rest(self) -> str | None:
        """Return the one version that there is, after checking that everything agrees."""
        assert self.journal is None and self.holder is None, self.actions
        expected = {} if self.champion is None else {self.champion: 100}
        assert ({v: s for v, s in self.shares.items() if s}, self.mirrors) == (expected, set()), self.actions
        assert self.placed == set(expected), f"left behind: {self.placed}: {self.actions}"
        return self.champion


class MemoryTraffic:
    """An endpoint as small as the machine can tell."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answering(self) -> str | None:
        return max(self.world.shares, key=lambda version: self.world.shares[version], default=None)

    def refresh(self, release: RegisteredVersion, load_sample: Callable[[], Sample]) -> bool:
        return False

    def serving(self) -> bool:
        return self.world.serving

    def describe(self, journal: ReleaseJournal) -> ReleaseJournal:
        return journal

    def prepare(self, journal: ReleaseJournal) -> ReleaseJournal:
        prepared = journal.model_copy(update={"installed_before": True})
        self.world.act("prepare", lambda: None)
        return prepared

    def place(self, journal: ReleaseJournal) -> None:
        self.world.act("place", lambda: self.world.placed.add(journal.version))

    def await_ready(self, journal: ReleaseJournal) -> None:
        assert journal.version in self.world.placed
        self.world.act("await_ready", lambda: None)

    def scale_up(self, journal: ReleaseJournal) -> None:
        self.world.act("scale_up", lambda: None)

    def route(self, journal: ReleaseJournal, share: int, *, mirrored: bool = False) -> None:
        def change() -> None:
            if journal.former is None:
                shares = {journal.version: 100} if share == 100 else {}
            else:
                shares = {journal.former: 100 - share, journal.version: share}
            self.world.shares = {version: share for version, share in shares.items() if share}
            self.world.mirrors = {journal.version} if mirrored else set()

        self.world.act(f"route {share}", change)

    def counts(self, journal: ReleaseJournal) -> Counted:
        return Counted(journal, self.world.counts, self.world.unread, self.world.down)

    def query(self, journal: ReleaseJournal, sample: Sample, *, isolated: bool) -> None:
        assert isolated or self.world.shares == {journal.version: 100}
        self.world.act(f"query {isolated=}", lambda: None)

    def retire(self, journal: ReleaseJournal) -> None:
        self.world.act("retire", lambda: self.world.placed.discard(journal.former or ""))

    def remove(self, journal: ReleaseJournal) -> None:
        self.world.act("remove", lambda: self.world.placed.discard(journal.version))


class MemoryAlias:
    """The registry's alias."""

    def __init__(self, world: World) -> None:
        self.world = world

    def champion(self, name: str) -> str | None:
        return self.world.champion

    def move(self, name: str, version: str | None) -> None:
        self.world.act(f"alias {version}", lambda: setattr(self.world, "champion", version))

    def take_back(self, name: str, version: str, reason: str) -> None:
        self.world.act("mark", lambda: self.world.harmful.update({version: reason}))

    def withdraw(self, release: RegisteredVersion, reason: str) -> None:
        self.world.act("withdraw", lambda: self.world.withdrawn.update({release.version: reason}))


class MemoryJournal:
    """A journal with a lock that ends with its process."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        if self.world.holder is not None:
            raise ReleaseUnderWay("another release is under way")
        self.world.holder = self
        try:
            yield
        finally:
            self.world.holder = None

    def read(self) -> ReleaseJournal | None:
        return self.world.journal

    def write(self, journal: ReleaseJournal | None) -> None:
        assert self.world.holder is self
        state = journal.state if journal else None
        self.world.act(f"journal {state}", lambda: setattr(self.world, "journal", journal))


def process(
    world: World,
    sleep: Callable[[float], None] | None = None,
    outcomes: Callable[[ReleaseJournal, datetime], LateOutcomes | None] | None = None,
) -> ReleaseDriver:
    """A process that knows nothing but the world."""
    sample = Sample(NAME, "2", [], [], 0.0)

    def soak(seconds: float) -> None:
        world.act("soak", lambda: None)

    world.killed = False
    alias, journal = MemoryAlias(world), MemoryJournal(world)
    return ReleaseDriver(MemoryTraffic(world), alias, journal, lambda _: sample, sleep or soak, outcomes)


def candidate(version: str = "2") -> RegisteredVersion:
    return RegisteredVersion(name=NAME, version=version, storage_uri="memory:")


def world_with(champion: str | None) -> World:
    shares = {} if champion is None else {champion: 100}
    return World(set(shares), shares, champion=champion, had_champion=champion is not None)


FAULTS = st.lists(st.sampled_from(["ok"] * 4 + ["fail before", "fail after", "kill before", "kill after"]), max_size=60)


@settings(max_examples=1500, deadline=None)
@given(
    champion=st.sampled_from([None, "1"]),
    chosen=st.sampled_from([BASIC, CANARY]),
    faults=FAULTS,
    serving=st.lists(st.booleans(), max_size=4),
)
@example(champion="1", chosen=BASIC, faults=["kill after"], serving=[])
def test_some_version_answers_at_all_times_and_in_the_end_registry_traffic_and_journal_agree(
    champion: str | None, chosen: Plan, faults: list[Any], serving: list[bool]
):
    world = world_with(champion)
    world.faults = list(faults)
    outcomes = [attempt(world, lambda: process(world).release(candidate(), chosen))]
    moved = world.champion == "2"
    # Whoever comes next recovers; it may be killed as well, and a local server may have ended meanwhile.
    while world.faults:
        world.serving = serving.pop(0) if serving else True
        outcomes.append(attempt(world, process(world).recover))
        if not world.faults or world.journal is None:
            world.faults = []
    world.serving = True
    process(world).recover()

    survivor = world.at_rest()
    assert survivor in {champion, "2"}
    if outcomes[0] == "released":
        assert survivor == "2"
    if not moved and outcomes[0] != "released":
        assert survivor == champion, "a release that never moved the alias must not be finished"
    # Recovery is idempotent, and the next release works.
    before = list(world.actions)
    assert process(world).recover() is None
    assert world.actions == before
    assert process(world).release(candidate("3")) == "released"
    assert world.at_rest() == "3"


def attempt(world: World, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except StepFailed as failed:
        return failed
    except Killed:
        return "killed"


def length_of(chosen: Plan, champion: str | None) -> int:
    world = world_with(champion)
    assert process(world).release(candidate(), chosen) == "released"
    return len(world.actions)


@pytest.mark.parametrize("champion", [None, "1"])
@pytest.mark.parametrize("chosen", [BASIC, CANARY], ids=lambda chosen: chosen.strategy)
def test_a_kill_after_every_effect_is_finished_once_the_alias_moved_and_rolled_back_before(chosen, champion):
    outcomes = set()
    for index in range(length_of(chosen, champion)):
        world = world_with(champion)
        world.faults = [*["ok"] * index, "kill after"]
        assert attempt(world, lambda world=world: process(world).release(candidate(), chosen)) == "killed"
        open_journal, moved = world.journal is not None, world.champion == "2"
        outcome = process(world).recover()
        if open_journal:
            assert outcome == ("finished" if moved else "rolled back"), world.actions
        assert world.at_rest() == ("2" if moved else champion)
        outcomes.add(outcome)

    assert outcomes >= {"finished", "rolled back"}


@pytest.mark.parametrize("champion", [None, "1"])
def test_a_kill_after_every_effect_of_every_undo_is_rolled_back(champion):
    for failing in range(length_of(BASIC, champion)):
        for killed in range(8):
            world = world_with(champion)
            world.faults = [*["ok"] * failing, "fail before", *["ok"] * killed, "kill after"]
            attempt(world, lambda world=world: process(world).release(candidate()))
            world.faults = []
            finishing = world.journal is not None and world.journal.phase is Phase.CLEAN_UP
            process(world).recover()
            survivor = world.at_rest()
            # A failure before the clean-up is undone, whatever happens to the undo.
            assert finishing or survivor in {champion, "2"}
            if world.champion != champion:
                assert "retire: ok" in world.actions or "retire: kill after" in world.actions, world.actions


def test_the_order_of_a_basic_release_is_the_documented_one():
    world = world_with("1")

    process(world).release(candidate())

    steps = [action.partition(":")[0] for action in world.actions if not action.startswith("journal")]
    assert steps == [
        "prepare",
        "place",
        "await_ready",
        "query isolated=True",
        "scale_up",
        "alias 2",
        "route 100",
        "query isolated=False",
        "soak",
        "retire",
    ]


def test_a_plan_with_exposures_keeps_the_alias_until_its_last_step():
    world = world_with("1")

    process(world).release(candidate(), CANARY)

    shown = [action.partition(":")[0] for action in world.actions if action.startswith(("route", "alias"))]
    assert shown == ["route 0", "route 20", "route 50", "alias 2", "route 100"]


def begun(chosen: Plan = WATCHED) -> World:
    """Return a world in which version 2 is exposed beside version 1."""
    world = world_with("1")
    assert process(world).release(candidate(), chosen) == "waiting"
    return world


def advance(world: World, seconds: float) -> Any:
    """Look at the release in a process of its own."""
    return process(world).advance(NOW + timedelta(seconds=seconds))


def test_a_watched_release_goes_on_step_by_step_as_the_counts_allow_and_any_process_may_look():
    world = begun()
    assert (world.shares, world.mirrors, world.champion) == ({"1": 100}, {"2"}, "1")

    assert advance(world, 0).outcome == "waiting", "nothing was counted yet"
    world.request(10, 9)
    assert advance(world, 1).reason == "9 of 10 requests, 0 of 0 s, no harm so far"
    world.request(1, 1)
    assert advance(world, 2).outcome == "next step"
    assert (world.shares, world.mirrors, world.champion) == ({"1": 80, "2": 20}, set(), "1")
    world.request(80, 20)
    assert advance(world, 3).outcome == "waiting", "the soak has just begun"
    assert advance(world, 62).outcome == "waiting"
    assert advance(world, 63).outcome == "released"

    assert world.at_rest() == "2"
    assert advance(world, 64) is None


def test_a_candidate_that_fails_requests_is_taken_back_and_remembered():
    world = begun()
    world.request(10, 10)
    advance(world, 0)
    world.request(500, 100, failed=40)

    progress = advance(world, 1)

    assert (progress.outcome, progress.harmful) == ("rolled back", True)
    assert progress.reason == "it fails more requests than the champion (40 of 100 against 0 of 500)"
    assert world.at_rest() == "1"
    assert world.harmful == {"2": progress.reason}


@pytest.mark.parametrize("fault", ["fail before", "kill before"])
def test_the_traffic_goes_back_and_the_mark_is_not_lost_whatever_happens_to_the_undo(fault):
    world = begun()
    world.request(10, 10)
    advance(world, 0)
    actions = len(world.actions)
    world.request(500, 100, failed=40)
    clean = replace(world, faults=[], actions=list(world.actions), placed=set(world.placed), harmful={})
    advance(clean, 1)
    # The first two effects record the look and the undo; from then on the traffic has gone back.
    for index in range(3, len(clean.actions) - actions):
        broken = replace(world, actions=[], placed=set(world.placed), shares=dict(world.shares), harmful={})
        broken.faults = [*["ok"] * index, fault]
        progress = attempt(broken, partial(advance, broken, 1))

        assert broken.shares == {"1": 100}
        if fault == "fail before":
            assert progress.harmful and "it fails more requests than the champion" in progress.reason
        process(broken).recover()
        assert broken.at_rest() == "1" and "2" in broken.harmful, broken.actions


def test_counts_that_are_missing_pass_no_step_hide_no_harm_and_end_at_the_deadline():
    world = begun()
    world.request(champion=200, candidate=50)
    world.unread = "pod b can't be asked"
    assert advance(world, 61).outcome == "waiting"
    assert advance(world, 61 + 86400).outcome == "rolled back"
    assert world.at_rest() == "1" and world.harmful == {}

    world = begun()
    world.unread = "pod b can't be asked"
    world.request(champion=200, candidate=50, failed=50)
    assert advance(world, 1).harmful


@pytest.mark.parametrize("harmful", [True, False])
def test_a_candidate_that_has_nothing_left_that_answers_is_taken_back_and_marked_if_it_is_the_cause(harmful):
    world = begun()
    world.down = Down("it has no pod that gets requests", harmful)

    assert advance(world, 1).outcome == "rolled back"
    assert world.at_rest() == "1"
    assert world.harmful == ({"2": "it has no pod that gets requests"} if harmful else {})


def decided(decision: str) -> tuple[World, str]:
    """Return a world in which a release was taken back by a decision, and the reason that was given."""
    world = begun()
    world.request(10, 10)
    advance(world, 0)
    if decision == "aborted":
        return world, process(world).abort("it is Friday").reason
    if decision == "superseded":
        process(world).release(candidate("3"))
        return world, "release 3 was begun"
    world.request(10, 1)
    advance(world, 1)
    return world, advance(world, 3602).reason


@pytest.mark.parametrize("decision", ["aborted", "superseded", "inconclusive"])
def test_a_release_that_was_ended_by_a_decision_is_withdrawn_so_that_no_retry_begins_it_again(decision):
    world, reason = decided(decision)

    assert world.at_rest() == ("3" if decision == "superseded" else "1")
    assert (world.withdrawn, world.harmful) == ({"2": reason}, {})


def test_a_release_that_failed_or_did_harm_is_not_withdrawn():
    world = world_with("1")
    world.faults = ["ok", "fail before"]
    attempt(world, lambda: process(world).release(candidate()))
    harmful = begun()
    harmful.down = Down("it has no pod that gets requests", harmful=True)
    advance(harmful, 1)

    assert world.withdrawn == harmful.withdrawn == {}


@pytest.mark.parametrize("kill", ["kill before", "kill after"])
def test_a_process_that_dies_while_it_aborts_leaves_the_release_withdrawn(kill):
    whole = begun()
    begun_actions = len(whole.actions)
    process(whole).abort("it is Friday")
    for index in range(1, len(whole.actions) - begun_actions):
        world = begun()
        world.faults = [*["ok"] * index, kill]
        attempt(world, partial(process(world).abort, "it is Friday"))
        process(world).recover()

        assert (world.at_rest(), world.withdrawn) == ("1", {"2": "it is Friday"}), world.actions


@pytest.mark.parametrize("inconclusive", ["abort", "hold"])
def test_too_few_requests_are_inconclusive_and_the_plan_says_what_follows(inconclusive):
    world = begun(WATCHED.model_copy(update={"inconclusive": inconclusive}))
    world.request(10, 10)
    advance(world, 0)

    world.request(10, 1)
    # The next step begins with the first look at it.
    assert advance(world, 1).outcome == "waiting"
    progress = advance(world, 3602)

    assert progress.reason == "only 1 of the 10 requests that it needs came in 3601 s"
    if inconclusive == "abort":
        assert progress.outcome == "rolled back" and world.at_rest() == "1" and world.harmful == {}
    else:
        assert progress.outcome == "held" and world.shares == {"1": 80, "2": 20}
        assert advance(world, 9999).outcome == "waiting", "held until somebody decides"
        assert process(world).promote("ada").outcome == "released"
        assert world.at_rest() == "2"


LABELED = Plan(
    strategy="shadow",
    steps=(PlanStep(share=0, mirrored=True, min_requests=10, deadline_s=3600), PlanStep(share=100)),
    labels=LabelCriterion(kind="better"),
)


def advance_with(world: World, seconds: float, **counts: int) -> Any:
    """Look at a shadow in a process that can read labels."""
    reading = process(world, outcomes=lambda journal, now: PairedOutcomes(**counts))
    return reading.advance(NOW + timedelta(seconds=seconds))


def test_a_shadow_takes_over_once_labels_show_that_it_is_better():
    world = begun(LABELED)
    world.request(20, 20)

    first = advance_with(world, 0, due=50, wins=3, ties=10, losses=1)
    assert first.outcome == "waiting"
    assert first.reason.startswith("no harm in 20 requests over 0 s, but the labels do not show yet that it is better")
    assert advance(world, 1).outcome == "waiting", "who cannot read labels decides nothing"
    assert world.journal is not None and world.journal.exposure is not None
    assert world.journal.exposure.outcomes == PairedOutcomes(due=50, wins=3, ties=10, losses=1)

    last = advance_with(world, 2, due=500, wins=60, ties=300, losses=20)
    assert (last.outcome, world.at_rest()) == ("released", "2")
    assert last.reason.startswith("it is better: of 380 labeled rows, 60 were right for the candidate alone")


def test_a_shadow_that_labels_show_to_be_worse_is_taken_back_and_remembered():
    world = begun(LABELED)
    world.request(20, 20)
    advance(world, 0)

    progress = advance_with(world, 1, due=500, wins=20, ties=300, losses=60)

    assert (progress.outcome, progress.harmful, world.at_rest()) == ("rolled back", True, "1")
    assert "it is right less often than the champion" in world.harmful["2"]


TESTED = Plan(
    strategy="ab",
    steps=(PlanStep(share=50, min_requests=10, deadline_s=86400), PlanStep(share=100)),
    trial=TrialPlan(smallest_effect=0.05, look_every_s=60),
)


def outcomes_of(mean: float, z: float, fraction: float) -> Callable[[ReleaseJournal, datetime], Trial]:
    """Two groups of the same size, of which the champion's is right in half of the cases, and one look at them."""
    groups = {name: Arm(entities=1000, mean=m, variance=0.25) for name, m in (("champion", 0.5), ("candidate", mean))}
    looks = (TrialLook(at=NOW, fraction=fraction, z=z, bound=2.5),) if fraction else ()
    return lambda journal, now: Trial(arms=Arms(**groups), looks=looks)


@pytest.mark.parametrize(
    ("mean", "z", "fraction", "outcome", "answers", "words"),
    [
        (0.6, 0.0, 0, "waiting", None, "nothing of the needed outcomes are known after 0 looks"),
        (0.6, 2.4, 0.5, "waiting", None, "50% of the needed outcomes are known after 1 look"),
        (0.7, 2.6, 0.5, "released", "2", "it is better, as look 1 shows"),
        (0.3, -2.6, 0.5, "rolled back", "1", "it is worse, as look 1 shows"),
        (0.5, 0.1, 1.0, "rolled back", "1", "there is hardly a difference of 0.05 in labels"),
    ],
)
def test_an_a_b_test_ends_as_its_outcomes_say(mean, z, fraction, outcome, answers, words):
    world = begun(TESTED)
    assert world.shares == {"1": 50, "2": 50}
    world.request(20, 20)

    progress = process(world, outcomes=outcomes_of(mean, z, fraction)).advance(NOW)

    assert progress.outcome == outcome and words in progress.reason
    assert ("2" in world.harmful) is (mean < 0.5)
    if answers:
        assert world.at_rest() == answers


def with_late_labels(release: dict[str, Any]) -> dict[str, Any]:
    """Return a project whose labels come after 30 days."""
    plain = documents.PROJECT.model_dump(mode="json", exclude_defaults=True)
    return plain | {"label": plain["label"] | {"delay_days": 30}, "release": release}


def test_outcomes_that_cannot_be_read_neither_hide_harm_nor_the_deadline():
    def unreadable(journal: ReleaseJournal, now: datetime) -> Trial:
        raise StepFailed("the log cannot be read now")

    world = begun(TESTED)
    world.request(20, 20)
    waiting = process(world, outcomes=unreadable).advance(NOW)
    assert waiting.outcome == "waiting" and waiting.reason.endswith("; the log cannot be read now")
    world.request(500, 100, failed=60)
    harmful = process(world, outcomes=unreadable).advance(NOW + timedelta(seconds=1))
    assert (harmful.outcome, harmful.harmful, world.at_rest()) == ("rolled back", True, "1")

    late = begun(TESTED)
    late.request(20, 20)
    process(late, outcomes=unreadable).advance(NOW)
    assert process(late, outcomes=unreadable).advance(NOW + timedelta(days=2)).outcome == "rolled back"


def test_settings_that_cannot_decide_anything_are_refused():
    for wrong, sentence in (
        ({"strategy": "ab"}, "needs 'smallest_effect'"),
        ({"labels": "better"}, "only the strategy 'shadow' answers the same requests with both"),
        ({"strategy": "canary", "labels": "not worse"}, "'strategy' is 'canary'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ReleaseSettings.model_validate(wrong)
    late = with_late_labels({"strategy": "ab", "smallest_effect": 0.02, "deadline_s": 86400})
    with pytest.raises(ValueError, match=r"labels, which come 30 days after a request, but its 'deadline_s' 86400"):
        Project.model_validate(late)
    for changed, sentence in (
        ({"smallest_effect": 2, "deadline_s": 8640000}, "write 2 points as 0.02"),
        (
            {"ab_metric": "outcomes"},
            "before a second look at its outcomes: with 'look_every_s' 86400 it needs at least",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            Project.model_validate(late | {"release": late["release"] | changed})
    with pytest.raises(ValueError, match="'monitoring: log' is false"):
        Project.model_validate(late | {"monitoring": {"log": False}})
    chosen = ReleaseSettings(strategy="ab", smallest_effect=0.02, ab_share=30, ab_metric="outcomes")
    planned = strategy.plan_of(chosen)
    assert [step.share for step in planned.steps] == [30, 100]
    assert planned.trial == TrialPlan(metric="outcomes", smallest_effect=0.02)
    labeled = strategy.plan_of(ReleaseSettings(strategy="shadow", labels="not worse"))
    assert labeled.labels == LabelCriterion(kind="not worse", margin=0.01) and labeled.trial is None


def test_labels_that_never_come_are_inconclusive():
    world = begun(LABELED)
    world.request(20, 20)
    advance(world, 0)

    progress = advance_with(world, 3601, due=400)

    assert (progress.outcome, world.at_rest(), world.harmful) == ("rolled back", "1", {})
    assert "of 0 labeled rows" in progress.reason and "400 rows are due" in progress.reason


def test_nothing_takes_over_without_the_approval_of_a_named_account():
    world = begun(APPROVED)
    with pytest.raises(InputError, match=r"'eve' may not approve release 2; .* names \['ada'\]"):
        process(world).approve(Approval(who="eve", at=NOW))

    promoted = process(world).promote("eve")
    assert (promoted.outcome, world.champion) == ("to approve", "1")
    assert advance(world, 1).reason == "it waits for the approval of ada"

    assert process(world).approve(Approval(who="ada", at=NOW)).outcome == "released"
    assert world.at_rest() == "2"


def test_without_a_server_nothing_takes_over_and_nothing_is_taken_back():
    world = begun(APPROVED)
    world.serving = False

    assert process(world).promote("ada").reason.startswith("no server runs, so nothing can take over")
    assert world.journal is not None and world.journal.phase is Phase.WATCH
    world.serving = True
    process(world).promote("ada")
    world.serving = False
    assert process(world).approve(Approval(who="ada", at=NOW)).outcome == "waiting"

    world.serving = True
    assert advance(world, 1).reason == "approved by ada", "the approval was kept"
    assert world.at_rest() == "2"


def test_an_approval_before_the_last_step_is_kept_for_it():
    world = begun(APPROVED)
    assert process(world).approve(Approval(who="ada", at=NOW)).outcome == "waiting"

    assert process(world).promote("eve").outcome == "released"


def test_a_first_release_has_no_champion_to_be_compared_with_but_needs_its_approval():
    world = world_with(None)
    assert process(world).release(candidate(), WATCHED) == "released"

    world = world_with(None)
    assert process(world).release(candidate(), APPROVED) == "waiting"
    assert world.shares == {}
    assert process(world).approve(Approval(who="ada", at=NOW)).outcome == "released"
    assert world.at_rest() == "2"


def test_a_newer_version_takes_the_place_of_one_that_waits_and_the_same_one_goes_on_waiting():
    world = begun()
    assert process(world).release(candidate(), WATCHED) == "waiting"

    assert process(world).release(candidate("3")) == "released"

    assert world.at_rest() == "3"


def test_who_decides_about_nothing_is_told_so():
    world = world_with("1")

    for decide in (lambda driver: driver.promote("ada"), lambda driver: driver.abort("why")):
        with pytest.raises(InputError, match="no release is under way"):
            decide(process(world))


@pytest.mark.parametrize("chosen", [WATCHED, APPROVED], ids=["watched", "approved"])
def test_a_kill_after_every_effect_of_a_watched_release_leaves_one_truth(chosen):
    def play(world: World) -> None:
        """Release, watch and approve to the end, in one process after another."""
        if attempt(world, lambda: process(world).release(candidate(), chosen)) == "killed":
            return
        for second in range(0, 200, 50):
            world.request(100, 100)
            if attempt(world, partial(advance, world, second)) == "killed":
                return
        if chosen.approvers and world.journal is not None:
            attempt(world, lambda: process(world).approve(Approval(who="ada", at=NOW)))

    whole = world_with("1")
    play(whole)
    assert whole.at_rest() == "2"
    for index in range(len(whole.actions)):
        world = world_with("1")
        world.faults = [*["ok"] * index, "kill after"]
        play(world)
        world.faults = []
        moved = world.champion == "2"
        process(world).recover()
        if world.journal is not None:
            assert world.journal.state.waiting and not moved, world.actions
            process(world).abort("end of the test")
        assert world.at_rest() == ("2" if moved else "1"), world.actions


def test_a_second_process_is_refused_while_one_releases_and_recovers_nothing_of_it():
    world = world_with("1")
    second: list[Any] = []

    def soak(seconds: float) -> None:
        second.append(attempt(world, process(world).recover))
        second.append(attempt(world, lambda: process(world).release(candidate("3"))))

    assert process(world, soak).release(candidate()) == "released"

    assert [type(outcome) for outcome in second] == [ReleaseUnderWay, ReleaseUnderWay]
    assert world.at_rest() == "2"


def test_an_undo_that_fails_says_so_and_leaves_the_journal_to_the_next_command():
    world = world_with("1")
    world.faults = [*["ok"] * 3, "fail before", "ok", "fail before"]

    with pytest.raises(StepFailed, match=r"release 2 failed \(.*\) and could not be rolled back \(route 0 failed\)"):
        process(world).release(candidate())

    assert world.journal is not None and world.journal.phase is Phase.UNDO
    assert process(world).recover() == "rolled back"
    assert world.at_rest() == "1"


@pytest.mark.parametrize(
    ("error", "raised", "sentence"),
    [
        (OSError("no space left"), StepFailed, "release 2 failed and is rolled back: OSError: no space left"),
        (KeyboardInterrupt("by the user"), KeyboardInterrupt, "by the user"),
    ],
    ids=["a bug", "an interrupt"],
)
def test_whatever_a_release_fails_with_is_undone(error, raised, sentence):
    clean = next(i for i, action in enumerate(_actions()) if action.startswith("retire"))
    # Before the journal says that only cleaning up is left.
    for at in range(clean - 1):
        world = world_with("1")
        world.faults, world.error = [*["ok"] * at, "fail before"], error

        with pytest.raises(raised, match=sentence):
            process(world).release(candidate())

        assert world.at_rest() == "1", world.actions


def test_a_clean_up_that_fails_is_finished_and_never_undone():
    world = world_with("1")
    clean = next(i for i, action in enumerate(_actions()) if action.startswith("retire"))
    world.faults = [*["ok"] * clean, "fail before"]

    with pytest.raises(StepFailed, match=r"answers, but cleaning up after it failed: retire failed Run again"):
        process(world).release(candidate())

    assert process(world).release(candidate()) == "unchanged"
    assert world.at_rest() == "2"


def _actions() -> list[str]:
    world = world_with("1")
    process(world).release(candidate())
    return world.actions


def test_an_alias_that_somebody_moved_meanwhile_is_not_moved_back():
    world = world_with("1")

    def soak(seconds: float) -> None:
        # The registry's owner moves the alias while the candidate already has the traffic.
        world.champion = "0"
        raise StepFailed("the soak failed")

    with pytest.raises(StepFailed, match="the soak failed"):
        process(world, soak).release(candidate())

    assert (world.champion, world.shares) == ("0", {"1": 100})


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("event", [*Event, *(Resumed(c, s) for c in (True, False) for s in (True, False))])
@pytest.mark.parametrize("chosen", [BASIC, CANARY], ids=lambda chosen: chosen.strategy)
def test_every_state_has_an_answer_to_every_event_and_records_where_it_goes(phase, event, chosen):
    state = ReleaseState(phase)

    following, effects = machine.transition(chosen, state, event)

    assert not effects or effects[0] == machine.Record(following)
    assert following.over or following.waiting or effects or event in (Event.FAILED, Event.PASSED, Event.PROMOTED)
    if state.over:
        assert (following, effects) == (state, ())


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [([], "at least 1"), ([50], "expected 100 in the last step"), ([100, 100], "expected 100 in the last step")],
)
def test_a_plan_that_does_not_end_with_everything_is_refused(shares, sentence):
    with pytest.raises(ValueError, match=sentence):
        Plan(strategy="x", steps=tuple(PlanStep(share=share) for share in shares))


@pytest.mark.parametrize("module", [machine, plan, routing, strategy])
def test_the_examples_in_the_docstrings_are_true(module):
    assert doctest.testmod(module).failed == 0
