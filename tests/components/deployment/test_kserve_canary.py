"""On a cluster the counts of all pods decide about a candidate that has a share, and any process may look."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.deployment import incident, logic
from components.shared import registry
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, InputError, StepFailed
from components.shared.incidents import store
from components.shared.release import watching
from components.shared.release.driver import Progress
from components.shared.release.journal import Approval
from components.shared.release.kserve.counting import PodCounts
from components.shared.release.kserve.pods import Pods
from components.shared.release.pace import Pace
from components.shared.release.plan import BASIC, Plan, PlanStep
from components.shared.release.traffic import Counted
from serving.counting import TrafficCounter
from tests import documents
from tests.components import made_candidate
from tests.components.deployment.kserve_double import READY, Behaviour
from tests.components.deployment.kserve_place import NAME, Place
from tests.components.deployment.pod_server import PodServer

REAL = "KUBECONFIG" in os.environ
OLD = Behaviour(routes_canaries=False)
BOTH = pytest.mark.parametrize("place", [Behaviour(), OLD], indirect=True, ids=["canary", "two services"])
TIMES: dict[str, Any] = {"soak_s": 60, "min_requests": 20, "deadline_s": 3600}
CANARY = Plan(strategy="canary", steps=(PlanStep(share=20, **TIMES), PlanStep(share=50, **TIMES), PlanStep(share=100)))
START = datetime(2026, 1, 1, tzinfo=UTC)
CRASHED = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "False"}],
    "containerStatuses": [
        {
            "name": "kserve-container",
            "restartCount": 2,
            "image": "serving",
            "imageID": "",
            "ready": False,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "segmentation fault"}},
        }
    ],
}
pytestmark = pytest.mark.skipif(REAL, reason="the pods' servers listen on this machine, where a real one asks no pod")


def begun(place: Place, plan: Plan = CANARY) -> None:
    place.release("1")
    assert place.release("2", plan=plan) == "waiting"
    look(place, 0)


def look(place: Place, seconds: float) -> Progress:
    progress = place.command().driver().advance(START + timedelta(seconds=seconds))
    assert progress is not None
    return progress


def mark(place: Place) -> str:
    """Return why the registry says that version 2 was taken back, and forget it."""
    client = place.models.client
    reason = client.get_model_version(NAME, "2").tags.get(registry.TAKEN_BACK, "")
    if reason:
        client.delete_model_version_tag(NAME, "2", registry.TAKEN_BACK)
    return str(reason)


def begin_again(place: Place) -> None:
    """Forget that other tests withdrew version 2."""
    for tag in place.models.client.get_model_version(NAME, "2").tags:
        if tag.startswith(registry.WITHDRAWN):
            place.models.client.delete_model_version_tag(NAME, "2", tag)


def serve(place: Place, champion: int, candidate: int, failed: int = 0) -> None:
    place.servers("1")[0].serve(champion)
    place.servers("2")[0].serve(candidate, failed=failed)


@BOTH
def test_shares_grow_as_the_counts_of_the_pods_allow_and_no_request_is_lost(place):
    begun(place)
    load = place.load()
    assert place.shares() == {"1": 80, "2": 20} and place.champion() == "1"

    assert look(place, 1).outcome == "waiting"
    serve(place, champion=200, candidate=25)
    assert look(place, 61).outcome == "next step" and place.shares() == {"1": 50, "2": 50}
    serve(place, champion=200, candidate=25)
    look(place, 62)
    assert look(place, 123).outcome == "released"

    load.end()
    assert place.at_rest("2")
    assert load.lost == [] and {"1", "2"} == set(load.versions)


@BOTH
def test_a_candidate_that_fails_requests_is_taken_back_and_marked(place):
    begun(place)
    load = place.load()
    serve(place, champion=200, candidate=0, failed=30)

    progress = look(place, 1)

    load.end()
    assert progress.outcome == "rolled back" and progress.harmful
    assert "30 of 3" in progress.reason and load.lost == []
    assert place.at_rest("1")
    assert "it fails more requests" in mark(place)


def test_a_failure_outlives_the_pod_that_counted_it(place):
    begun(place)
    [server] = place.servers("2")
    server.serve(0, failed=3)
    look(place, 1)
    server.start()
    server.serve(5)

    counts = look(place, 2).journal.exposure.candidate

    assert (counts.answered, counts.failed) == (5, 3)


def test_a_pod_that_joins_the_champion_counts_from_its_start(place):
    begun(place)
    service = f"{NAME}-v1-predictor"
    place.controller.join_pod("later", service, "1").serve(40, failed=1)

    counts = look(place, 1).journal.exposure.champion

    assert (counts.answered, counts.failed) == (40, 1)


def test_a_pod_that_can_not_be_asked_is_no_pod_without_failures(place):
    begun(place)
    serve(place, champion=200, candidate=25)
    place.servers("2")[0].answers = False

    progress = look(place, 61)

    assert progress.outcome == "waiting" and "can't be read" in progress.reason
    assert look(place, 3601).outcome == "rolled back"
    assert place.at_rest("1") and mark(place) == ""


def looked(place: Place, look_s: float) -> Counted:
    """Look at all pods once, as a release does that is exposed."""
    command = place.command()
    journal = command.journal.read()
    assert journal is not None
    counts = PodCounts(command.cluster, Pods(command.cluster, Pace()), look_s)
    return counts.read(journal, {version: f"{NAME}-v{version}-predictor" for version in "12"}, 20)


def test_all_pods_are_asked_side_by_side(place):
    begun(place)
    for number in range(6):
        place.controller.join_pod(f"later-{number}", f"{NAME}-v1-predictor", "1")
    # Nobody answers before all are asked.
    together = threading.Barrier(8, timeout=10)
    for server in (*place.servers("1"), *place.servers("2")):
        server.hold = together.wait

    assert looked(place, look_s=20).unread is None


def test_a_look_ends_at_its_deadline_and_names_the_pods_that_have_not_answered(place):
    begun(place)
    serve(place, champion=200, candidate=25)
    over = threading.Event()
    place.servers("2")[0].hold = over.wait

    seen = looked(place, look_s=0.5)
    over.set()

    assert seen.unread == f"pod {NAME}-v2-predictor has not said its counts within 0.5 s"
    assert seen.counts is not None and seen.counts.versions["1"].answered == 200


def test_what_an_older_image_does_not_count_is_named(place):
    place.release("1")
    [server] = place.servers("1")
    server.counter = TrafficCounter()
    place.release("2", plan=CANARY)

    progress = look(place, 0)

    assert (
        progress.outcome == "waiting" and "older Perennial; release once with the strategy 'basic'" in progress.reason
    )


@BOTH
def test_a_candidate_whose_pods_crash_is_taken_back_at_the_second_look(place):
    begun(place)
    place.behaviour.pods["2"] = CRASHED
    place.controller.api.patch("api/v1", "pods", f"{NAME}-v2-predictor/status", {"status": CRASHED})
    look(place, 1)

    progress = look(place, 2)

    assert progress.harmful and "no pod that gets requests" in progress.reason and "segmentation" in progress.reason
    place.behaviour.pods["2"] = READY
    assert place.at_rest("1")
    assert "no pod that gets requests" in mark(place)


def test_a_candidate_whose_pods_crash_is_taken_back_also_beside_a_champion_that_can_not_count(place):
    place.release("1")
    place.servers("1")[0].counter = TrafficCounter()
    place.release("2", plan=CANARY)
    assert "older Perennial" in look(place, 0).reason
    place.behaviour.pods["2"] = CRASHED
    place.controller.api.patch("api/v1", "pods", f"{NAME}-v2-predictor/status", {"status": CRASHED})
    look(place, 1)

    progress = look(place, 2)

    assert progress.outcome == "rolled back" and progress.harmful
    assert "no pod that gets requests" in progress.reason


@pytest.mark.parametrize("basic", [True, False])
def test_nothing_takes_over_without_an_approval_not_even_a_first_release(place, basic):
    plan = BASIC.model_copy(update={"approvers": ("ada",)})
    if not basic:
        place.release("1")
    version, before = ("1", None) if basic else ("2", "1")
    assert place.release(version, plan=plan) == "waiting"
    driver = place.command().driver()
    assert (place.champion(), place.answers()) == (before, before)
    assert look(place, 1).outcome == "to approve"

    with pytest.raises(InputError, match="'eve' may not approve"):
        driver.approve(Approval(who="eve", at=START))
    assert driver.approve(Approval(who="ada", at=START)).outcome == "released"

    assert place.at_rest(version)


def test_the_account_that_approves_is_the_one_that_the_api_server_reports(place):
    assert place.command().cluster.account() == "admin"


def test_a_cluster_refuses_what_no_gateway_can_do(place):
    place.release("1")
    shadow = Plan(strategy="shadow", steps=(PlanStep(share=0, mirrored=True, **TIMES), PlanStep(share=100)))

    with pytest.raises(StepFailed, match="'shadow' needs a server that routes by entity"):
        place.release("2", plan=shadow)

    assert place.at_rest("1")


def test_the_step_watches_until_the_release_has_ended_and_a_newer_one_ends_its_watch(place):
    quick = CANARY.model_copy(update={"steps": (PlanStep(share=20, soak_s=0.1, min_requests=20), PlanStep(share=100))})
    place.release("1")
    place.release("2", plan=quick)
    driver = place.command().driver()
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        serve(place, champion=20, candidate=20)

    progress = watching.watch(driver, "2", sleep=sleep)
    assert watching.ended(progress, "2", place.champion()) == "released" and place.at_rest("2")
    assert watching.watch(driver, "2") is None, "nothing is left to watch"

    place.release("3", plan=CANARY)
    place.release("1", plan=CANARY)
    assert watching.watch(driver, "3") is None
    with pytest.raises(StepFailed, match="release 3 was taken back by somebody else, version 2 is the champion"):
        watching.ended(None, "3", place.champion())


def test_inside_a_cluster_a_pod_is_asked_by_its_address(place):
    cluster, server = place.command().cluster, PodServer("1")
    cluster._inside = True
    server.serve(3)
    pod = {"metadata": {"name": "p"}, "status": {"podIP": "127.0.0.1"}}
    path = f"/v2/models/{NAME}/stats"

    assert cluster.ask(pod, server.port, path)["versions"]["1"]["answered"] == 3
    server.answers = False
    with pytest.raises(StepFailed, match="the pod p answers with status 503"):
        cluster.ask(pod, server.port, path)
    server.end()


def test_looks_that_fail_are_repeated_and_what_rolled_a_release_back_is_raised():
    answers: list[Any] = [StepFailed("the API server does not answer"), StepFailed("the shift failed"), None]

    class Driver:
        def advance(self, now: datetime) -> Progress | None:
            answer = answers.pop(0)
            if isinstance(answer, StepFailed):
                raise answer
            return answer

    with pytest.raises(StepFailed, match="the shift failed"):
        watching.watch(Driver(), "2", sleep=lambda seconds: None)


KILLED_AT = {
    "counted": ("kserve.traffic", "ClusterTraffic", "counts", 1, "after"),
    "evidence written": ("kserve.lease", "LeaseJournalStore", "write", 1, "after"),
    "next step recorded": ("kserve.lease", "LeaseJournalStore", "write", 2, "after"),
    "next step routed": ("kserve.traffic", "ClusterTraffic", "route", 1, "after"),
}


@pytest.mark.parametrize("boundary", KILLED_AT)
def test_a_watcher_that_is_killed_leaves_a_release_that_another_goes_on_with_or_takes_back(place, boundary):
    begun(place)
    serve(place, champion=200, candidate=25, failed=1)
    load = place.load()
    kill(place, KILLED_AT[boundary])

    driver = place.command().driver()
    recovered = driver.recover()

    load.end()
    assert load.lost == [] and place.champion() == "1"
    if "next step" in boundary:
        # Killed between two steps: which shares are in effect is not known.
        assert recovered == "rolled back" and place.at_rest("1")
    else:
        assert recovered is None
        counts = look(place, 2).journal.exposure.candidate
        assert counts.failed == 1 and counts.answered >= 25
        assert look(place, 61).outcome == "next step"


def kill(place: Place, boundary: tuple[str, str, str, int, str]) -> None:
    """Look in a process that is killed there."""
    module, owner, method, number, _ = boundary
    script = f"""
        import os, signal
        from datetime import UTC, datetime
        from components.shared import registry
        from components.shared.release.{module} import {owner}
        from tests.components.deployment.kserve_place import opened

        real, calls = {owner}.{method}, 0
        def killed(*given, **named):
            global calls
            calls += 1
            answer = real(*given, **named)
            if calls == {number}:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        {owner}.{method} = killed
        driver = opened(None, registry.open({place.models.uri!r}), {place.endpoint!r}).driver()
        driver.advance(datetime(2026, 1, 1, 0, 1, 1, tzinfo=UTC))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_version_that_did_harm_is_one_incident_in_the_bucket_however_often_the_step_is_tried(place, tmp_path):
    mark(place)
    begin_again(place)
    begun(place)
    serve(place, champion=200, candidate=0, failed=30)
    project = made_candidate.project(monitoring={"notify": {"log": {"kind": "file", "path": "told.jsonl"}}})
    documents.verdict().write(tmp_path / Verdict.FILE)
    step = (
        project,
        place.models.folder / "releases" / "2",
        tmp_path / Verdict.FILE,
        place.models.uri,
        place.endpoint,
        f"file://{tmp_path / 'bucket'}",
    )

    with pytest.raises(StepFailed, match="release 2 is taken back, release 1 answers: it fails more requests"):
        logic.deploy(*step)
    with pytest.raises(GateRejected, match="release 2 was taken back before"):
        logic.deploy(*step)

    [opened] = store.opened(tmp_path / "bucket" / "incidents")
    assert (opened.cause, opened.action) == ("release", "roll back")
    assert "it fails more requests" in opened.sightings[0].reasons[0]
    assert (tmp_path / "bucket" / "told.jsonl").read_text().count('"opened"') == 1
    mark(place)


def test_a_bucket_that_refuses_hides_neither_the_harm_nor_the_mark(place, caplog):
    incident.open_for(made_candidate.project(), place.models.plans["2"], "it crashes", "nowhere://bucket")

    assert "no incident is opened for release 2: cannot access nowhere://bucket" in caplog.text
