"""Whatever becomes of pods, their counts are added up once: nothing goes backwards, and no failure is lost."""

from dataclasses import dataclass, field
from itertools import count

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.shared.documents.traffic_counts import VersionCounts
from components.shared.release import tally
from components.shared.release.tally import Reading, Tally
from serving.counting import TrafficCounter

CHAMPION, CANDIDATE = "1", "2"


@dataclass
class Pod:
    """A pod whose server counts, may be started again, and may not answer."""

    uid: str
    version: str
    restarts: int = 0
    answers: bool = True
    counter: TrafficCounter = field(default_factory=TrafficCounter)

    def __post_init__(self) -> None:
        self.counter.always(self.version)

    def serve(self, answered: int, failed: int = 0, score: float = 0.5) -> None:
        for _ in range(answered):
            self.counter.answered(self.version, 0.001, np.array([score]))
        for _ in range(failed):
            self.counter.refused(self.version, "bug")

    def crash(self) -> None:
        self.restarts += 1
        self.counter = TrafficCounter()
        self.counter.always(self.version)

    def reading(self) -> Reading:
        counts = self.counter.read() if self.answers else None
        return Reading(self.uid, self.uid, self.version, self.restarts, self.answers, counts)


def look(known: Tally, *pods: Pod) -> Tally:
    # Kept in a journal between two looks.
    known = Tally.model_validate_json(known.model_dump_json())
    return tally.added(known, [pod.reading() for pod in pods], former=CHAMPION, candidate=CANDIDATE)


def test_a_champion_that_is_asked_late_is_compared_from_then_on_and_crashes_before_count():
    champion, candidate = Pod("a", CHAMPION, answers=False), Pod("b", CANDIDATE)
    champion.serve(500, failed=9)
    awaited = None
    for _ in range(2):
        readings = [pod.reading() for pod in (champion, candidate)]
        awaited = tally.awaited(awaited, readings, former=CHAMPION, candidate=CANDIDATE)
        candidate.crash()
    assert (awaited.is_comparable, awaited.crashes) == (False, 1)
    champion.answers = True

    known = tally.begun([pod.reading() for pod in (champion, candidate)], former=CHAMPION, before=awaited)
    champion.serve(10)
    known = look(known, champion, candidate)

    assert known.is_comparable and known.crashes == 1
    assert totals(known, CHAMPION) == (10, 0)


def begin(*pods: Pod) -> Tally:
    return tally.begun([pod.reading() for pod in pods], former=CHAMPION)


def totals(known: Tally, version: str) -> tuple[int, int]:
    counts = known.totals.get(version, VersionCounts())
    return counts.answered, counts.failed


def test_what_the_champion_did_before_does_not_count_and_what_the_candidate_did_does():
    champion, candidate = Pod("a", CHAMPION), Pod("b", CANDIDATE)
    champion.serve(1000, failed=9)
    candidate.serve(3, failed=2)

    known = look(begin(champion, candidate), champion, candidate)

    assert (totals(known, CHAMPION), totals(known, CANDIDATE)) == ((0, 0), (3, 2))


def test_a_server_that_is_started_again_counts_on_and_its_end_is_a_failed_request():
    champion, candidate = Pod("a", CHAMPION), Pod("b", CANDIDATE)
    known = begin(champion, candidate)
    candidate.serve(5, failed=1)
    known = look(known, champion, candidate)
    candidate.crash()
    candidate.serve(2)

    known = look(known, champion, candidate)

    assert totals(known, CANDIDATE) == (7, 2) and known.crashes == 1


def test_restarts_from_before_are_no_crashes_of_this_release():
    champion, candidate = Pod("a", CHAMPION, restarts=4), Pod("b", CANDIDATE, restarts=2)

    known = look(begin(champion, candidate), champion, candidate)

    assert totals(known, CHAMPION) == totals(known, CANDIDATE) == (0, 0) and known.crashes == 0


def test_a_pod_that_joins_counts_from_its_start_and_one_that_vanishes_keeps_what_it_counted():
    champion, candidate, late = Pod("a", CHAMPION), Pod("b", CANDIDATE), Pod("c", CHAMPION)
    known = begin(champion, candidate)
    champion.serve(10)
    known = look(known, champion, candidate)
    late.serve(4, failed=1)

    known = look(known, late, candidate)

    assert totals(known, CHAMPION) == (14, 1) and known.pods.keys() == {"b", "c"}


def test_scores_are_compared_in_the_deciles_of_what_the_champion_had_answered():
    champion, candidate = Pod("a", CHAMPION), Pod("b", CANDIDATE)
    for score in np.linspace(0.01, 0.99, 300):
        champion.serve(1, score=score)
    known = begin(champion, candidate)
    assert len(known.edges) == 9
    for score in np.linspace(0.01, 0.99, 1000):
        champion.serve(1, score=score)
    candidate.serve(50, score=0.99)

    known = look(known, champion, candidate)

    assert max(known.totals[CHAMPION].scores) < 150 and sum(known.totals[CHAMPION].scores) == 1000
    assert known.totals[CANDIDATE].scores == (0,) * 9 + (50,)


def test_scores_from_before_there_were_ranges_are_not_counted_in_them():
    champion, candidate = Pod("a", CHAMPION), Pod("b", CANDIDATE)
    known = begin(champion, candidate)
    champion.serve(250)
    candidate.serve(7)
    known = look(known, champion, candidate)
    assert known.edges and sum(known.totals[CHAMPION].scores) == 0
    champion.serve(3)

    known = look(known, champion, candidate)

    assert sum(known.totals[CHAMPION].scores) == 3 and totals(known, CHAMPION) == (253, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["serve", "fail", "crash", "mute", "join", "leave", "look", "again"]), st.integers(0, 2)
        ),
        max_size=40,
    )
)
def test_after_any_history_totals_are_what_was_looked_at_and_never_fall(history):
    ids = count()
    champion = Pod("champion", CHAMPION)
    pods = [Pod(f"pod {next(ids)}", CANDIDATE)]
    known = begin(champion, *pods)
    looked: dict[str, tuple[int, int]] = {}
    counted: dict[str, tuple[int, int]] = {pods[0].uid: (0, 0)}
    before = (0, 0)
    for action, index in history:
        pod = pods[index % len(pods)] if pods else None
        if action == "join":
            pods.append(Pod(f"pod {next(ids)}", CANDIDATE))
            counted[pods[-1].uid] = (0, 0)
        elif action in ("look", "again"):
            previous, known = known, look(known, champion, *pods)
            looked |= {one.uid: counted[one.uid] for one in pods if one.answers}
            if action == "again":
                # Killed before the journal was written: the look is repeated.
                assert look(previous, champion, *pods) == known
            assert totals(known, CANDIDATE) >= before
            before = totals(known, CANDIDATE)
            assert before[0] == sum(answered for answered, _ in looked.values())
            assert before[1] - known.crashes == sum(failed for _, failed in looked.values())
        elif pod is None:
            continue
        elif action == "serve":
            pod.serve(2)
            counted[pod.uid] = (counted[pod.uid][0] + 2, counted[pod.uid][1])
        elif action == "fail":
            pod.serve(0, failed=1)
            counted[pod.uid] = (counted[pod.uid][0], counted[pod.uid][1] + 1)
        elif action == "mute":
            pod.answers = not pod.answers
        elif action == "leave":
            pods.remove(pod)
        elif action == "crash":
            pod.crash()
            # What nobody looked at ended with the server.
            counted[pod.uid] = looked.get(pod.uid, (0, 0))
