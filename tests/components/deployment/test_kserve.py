"""On a cluster a release is whole or it never was, whatever fails: the route's weights and the alias are the truth.

Against the API server that KUBECONFIG names, or else a double of it; with doubles of KServe's controller and of the
gateway.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.errors import InputError, StepFailed
from tests.components.deployment import kserve_double as double
from tests.components.deployment.kserve_double import SERVING, Behaviour
from tests.components.deployment.kserve_place import NAME, PACE, Place, release_from

# Where there is none, the fixture sets one for a double of the API server.
REAL = "KUBECONFIG" in os.environ
OLD = Behaviour(routes_canaries=False)
NO_ROUTES = Behaviour(makes_routes=False)
KINDS = pytest.mark.parametrize("place", [Behaviour(), OLD, NO_ROUTES], indirect=True, ids=["canary", "0.20", "none"])


@KINDS
def test_three_releases_follow_one_another_and_no_request_is_lost(place):
    assert place.release("1") == "released"
    assert place.at_rest("1")
    load = place.load()

    assert place.release("2") == "released"
    assert place.release("3") == "released"

    load.end()
    assert place.at_rest("3")
    assert load.lost == []
    assert sorted(set(load.versions), key=load.versions.index) == ["1", "2", "3"]
    assert load.versions == sorted(load.versions)


def test_one_service_is_kept_where_canaries_are_routed(place):
    place.release("1")
    place.release("2")

    service = place.api.get(SERVING, "inferenceservices", NAME)
    assert place.objects() == {"services": [NAME], "routes": [NAME, f"{NAME}-predictor"]}
    assert service["spec"]["predictor"]["name"] == "v2"
    assert not service["spec"].get("canary")
    assert service["spec"]["predictor"]["maxReplicas"] == 3


@pytest.mark.parametrize("place", [OLD], indirect=True)
def test_where_canaries_are_not_routed_our_own_route_stands_before_the_first_release_already(place):
    place.release("1")

    assert place.objects() == {"services": [f"{NAME}-v1"], "routes": [NAME]}
    service = place.api.get(SERVING, "inferenceservices", f"{NAME}-v1")
    assert service["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
    assert service["spec"]["predictor"]["model"]["args"][-1] == f"--name={NAME}"


def test_the_champions_pods_are_never_replaced(place):
    place.release("1")
    place.controller.restarts.clear()

    place.release("2")

    assert place.controller.restarts == []


def test_what_answers_already_is_not_released_again(place):
    place.release("1")

    assert place.release("1") == "unchanged"


@KINDS
def test_a_candidate_that_answers_wrong_is_taken_back(place):
    place.release("1")
    place.gateway.scores["2"] = [0.1, 0.2, 0.4]
    load = place.load()

    with pytest.raises(StepFailed, match=r"answers row 2 of its sample with 0\.4, training computed 0\.3"):
        place.release("2")

    load.end()
    assert place.at_rest("1")
    assert (load.lost, set(load.versions)) == ([], {"1"})


@KINDS
def test_a_first_release_that_answers_wrong_leaves_nothing(place):
    place.gateway.scores["1"] = [9.0, 9.0, 9.0]

    with pytest.raises(StepFailed, match="answers row 0 of its sample"):
        place.release("1")

    assert place.objects() == {"services": [], "routes": []}
    assert place.at_rest(None)


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state: dict[str, Any] = {"name": "kserve-container", "state": {"waiting": {"reason": reason, "message": message}}}
    state |= {"image": "serving:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "conditions": [], "containerStatuses": [state | more]}


def killed(reason: str, code: int, **more: Any) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "containerID": "x", "finishedAt": None, "startedAt": None} | more
    return waiting("CrashLoopBackOff", restartCount=3, lastState={"terminated": ended})


HOPELESS = {
    "image": (waiting("ImagePullBackOff", "Back-off pulling image"), r"image 'serving:1' can't be pulled: Back-off"),
    "name": (waiting("InvalidImageName", "couldn't parse"), r"can't be pulled: couldn't parse"),
    "secret": (
        waiting("CreateContainerConfigError", 'secret "x" not found'),
        r"can't be created: secret \"x\" not found",
    ),
    "memory": (killed("OOMKilled", 137), r"'kserve-container' ran out of memory \(its limit is 1Gi\)"),
    "crash": (killed("Error", 1), r"'kserve-container' ends with exit code 1"),
    "said": (killed("Error", 1, message="Traceback ...\nOSError: 403\n"), r"ends with exit code 1: OSError: 403\."),
}


@pytest.mark.parametrize("trouble", HOPELESS)
def test_a_pod_that_can_never_start_ends_the_release_before_its_deadline(place, trouble):
    status, sentence = HOPELESS[trouble]
    place.release("1")
    place.behaviour.pods["2"] = status
    load = place.load()

    with pytest.raises(StepFailed, match=rf"release 2 does not start: .*{sentence}.*kubectl -n .* get events --field"):
        place.release("2", start_s=60)

    load.end()
    assert place.at_rest("1")
    assert load.lost == []


def test_a_pod_that_finds_no_node_is_waited_for_until_the_deadline(place):
    place.release("1")
    full = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: Too many pods.",
    }
    place.behaviour.pods["2"] = {"phase": "Pending", "conditions": [full]}

    with pytest.raises(
        StepFailed, match=r"is not ready after 3 s: no node has room for it: 0/1 nodes: Too many pods\."
    ):
        place.release("2", start_s=3)

    assert place.at_rest("1")


@pytest.mark.parametrize("place", [Behaviour(pods={"probe": waiting("ImagePullBackOff")})], indirect=True)
def test_where_there_is_no_room_for_a_twin_the_way_that_needs_no_answer_is_taken(place):
    place.release("1")

    assert place.objects() == {"services": [f"{NAME}-v1"], "routes": [NAME]}


def test_a_gateway_that_takes_up_no_route_is_named(place):
    place.release("1")
    place.behaviour.accepts = False

    with pytest.raises(StepFailed, match=r"gateway does not adopt the route .* \(no gateway has adopted it\)"):
        place.release("2", pace=replace(PACE, route_s=1.5))


def test_what_somebody_else_made_under_the_name_is_not_touched(place):
    predictor = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://theirs/"}}
    theirs = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": NAME}}
    place.controller.end()
    place.api.make(SERVING, "inferenceservices", {**theirs, "spec": {"predictor": predictor}})

    with pytest.raises(StepFailed, match=r"InferenceService 'made' in namespace .* does not belong to this project"):
        place.release("1")

    assert place.api.get(SERVING, "inferenceservices", NAME)["spec"]["predictor"] == predictor


def test_a_model_that_no_pod_can_read_is_refused_before_anything_is_made(place, models):
    plan = models.plans["1"].model_copy(update={"storage_uri": "file:///here/model"})

    with pytest.raises(InputError, match="no pod can read it"):
        release_from(models.folder / "releases" / "1", plan, models.client, place.endpoint, 10, PACE)

    assert place.objects() == {"services": [], "routes": []}


def test_two_releases_at_once_are_one_release_and_one_refusal(place):
    place.release("1")
    outcomes: list[Any] = []

    def attempt(version: str) -> None:
        try:
            outcomes.append(place.release(version))
        except StepFailed as refused:
            outcomes.append(str(refused))

    threads = [threading.Thread(target=attempt, args=(version,)) for version in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome == "released" for outcome in outcomes) == [False, True]
    assert any("another release of this project is under way by" in outcome for outcome in outcomes)
    assert place.at_rest(place.champion())


# Where the step is killed: module, class, method, at which call, before or after it, and whether the alias has moved.
KILLED_AT: dict[str, tuple[str, str, str, int, str, bool]] = {
    "journal written": ("lease", "LeaseJournalStore", "write", 1, "after", False),
    "candidate dark": ("cluster", "Cluster", "merge", 1, "after", False),
    "queried in isolation": ("ingress", "Ingress", "await_accepted", 2, "after", False),
    "before the alias": ("canary", "CanaryLayout", "scale_up", 1, "after", False),
    "after the alias": ("canary", "CanaryLayout", "route", 1, "before", True),
    "traffic shifted": ("cluster", "Cluster", "merge", 2, "after", True),
    "queried publicly": ("ingress", "Ingress", "verify_public", 1, "after", True),
    "renamed": ("canary", "CanaryLayout", "retire", 1, "after", True),
}
KILLED_SERVICES_AT = {
    "candidate placed": ("two_services", "TwoServicesLayout", "place", 1, "after", False),
    "before the alias": ("two_services", "TwoServicesLayout", "scale_up", 1, "after", False),
    "after the alias": ("two_services", "TwoServicesLayout", "route", 1, "before", True),
    "traffic shifted": ("two_services", "TwoServicesLayout", "route", 1, "after", True),
    "route names one": ("two_services", "TwoServicesLayout", "_delete", 1, "before", True),
    "renamed": ("two_services", "TwoServicesLayout", "retire", 1, "after", True),
}


def kill(place: Place, version: str, boundary: tuple[str, str, str, int, str, bool]) -> None:
    module, owner, method, count, when, _ = boundary
    pace = {key: getattr(PACE, key) for key in ("route_s", "settle_s", "stuck_s", "lease_s", "poll_s")}
    script = f"""
        import os, signal
        from pathlib import Path
        from components.shared import registry
        from components.shared.documents.release import RegisteredVersion
        from components.shared.release.kserve.{module} import {owner}
        from components.shared.release.pace import Pace
        from tests.components.deployment.kserve_place import release_from

        real, calls = {owner}.{method}, 0
        def killed(*given, **named):
            global calls
            calls += 1
            if calls == {count} and {when == "before"}:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = real(*given, **named)
            if calls == {count}:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        {owner}.{method} = killed
        folder = Path({str(place.models.folder / "releases" / version)!r})
        plan = RegisteredVersion.read(folder)
        release_from(folder, plan, registry.open({place.models.uri!r}), {place.endpoint!r}, 10, Pace(**{pace!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def killed_then(place: Place, boundary: Any, then: str) -> None:
    place.release("1")
    load = place.load()
    kill(place, "2", boundary)
    moved = boundary[-1]
    assert place.champion() == ("2" if moved else "1")

    outcome = place.release(then)

    load.end()
    assert outcome == ("unchanged" if moved and then == "2" else "released")
    assert place.at_rest(then)
    assert load.lost == []


@pytest.mark.parametrize("boundary", KILLED_AT)
def test_a_killed_release_is_finished_once_the_alias_moved_and_taken_back_before(place, boundary):
    killed_then(place, KILLED_AT[boundary], "2")


@pytest.mark.parametrize("boundary", ["queried in isolation", "after the alias"])
def test_the_next_release_settles_one_that_was_killed(place, boundary):
    killed_then(place, KILLED_AT[boundary], "3")


@pytest.mark.parametrize("place", [OLD], indirect=True)
@pytest.mark.parametrize("boundary", KILLED_SERVICES_AT)
def test_a_killed_release_of_two_services_is_finished_or_taken_back(place, boundary):
    killed_then(place, KILLED_SERVICES_AT[boundary], "3")


@pytest.mark.parametrize("place", [Behaviour(), OLD], indirect=True, ids=["canary", "0.20"])
@pytest.mark.parametrize("method", ["place", "routed"])
def test_a_first_release_that_was_killed_leaves_nothing_to_the_next(place, method):
    kill(place, "1", ("canary", "CanaryLayout", method, 1, "after", False))

    assert place.release("2") == "released"
    assert place.at_rest("2")


def test_a_release_whose_traffic_can_not_be_seen_goes_back_traffic_first(place):
    place.release("1")
    load = place.load()

    class Late(dict):
        """The candidate answers right alone and wrong as soon as the public asks."""

    place.gateway.scores = Late(place.gateway.scores)
    real: Callable[..., Any] = place.gateway.answer

    def answer(controller: Any, host: str, path: str, body: bytes, **_: bool) -> tuple[int, bytes]:
        status, content = real(controller, host, path, body)
        if host == place.host and status == 200 and b'"2"' in content:
            content = content.replace(b"0.1", b"0.7")
        return status, content

    place.gateway.answer = answer

    with pytest.raises(StepFailed, match=r"answers row 0 of its sample with 0\.7"):
        place.release("2")

    load.end()
    assert place.at_rest("1")
    assert load.lost == []


# The Role that infra/ gives the pipeline.
ROLE = yaml.safe_load((Path(__file__).parents[3] / "infra" / "base" / "models" / "role.yaml").read_text())
RIGHTS = [
    (group, resource, rule["verbs"])
    for rule in ROLE["rules"]
    for group in rule["apiGroups"]
    for resource in rule["resources"]
]
# Without these two only the sentence about a pod that does not start gets shorter.
SOFT = [("pods/log", "get"), ("events", "list")]
TAKEN = [(group, resource, verb) for group, resource, verbs in RIGHTS for verb in verbs if (resource, verb) not in SOFT]


def rules(without: tuple[str, str, str] | None) -> list[dict[str, Any]]:
    kept = [
        (group, resource, [verb for verb in verbs if (group, resource, verb) != without])
        for group, resource, verbs in RIGHTS
    ]
    return [{"apiGroups": [group], "resources": [resource], "verbs": verbs} for group, resource, verbs in kept if verbs]


@pytest.fixture
def as_account(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def become(without: tuple[str, str, str] | None) -> None:
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(double.account(place.api, "step", rules(without))))
        monkeypatch.setenv("KUBECONFIG", str(file))

    return become


@pytest.mark.parametrize("place", [Behaviour(), OLD], indirect=True, ids=["canary", "0.20"])
def test_the_rights_that_the_readme_lists_are_enough(place, as_account):
    as_account(None)

    assert place.release("1") == "released"
    assert place.release("2") == "released"
    assert place.at_rest("2")


@pytest.mark.skipif(not REAL, reason="no KUBECONFIG: only a real API server shows who needs which right")
@pytest.mark.parametrize("place", [OLD], indirect=True, ids=["0.20"])
@pytest.mark.parametrize("without", TAKEN, ids=lambda right: f"{right[2]} {right[1]}")
def test_each_right_is_needed_and_its_lack_is_named(place, as_account, without):
    group, resource, verb = without
    as_account(without)

    what = f"{resource}.{group}" if group else resource
    sentence = (
        f"service account '{place.api.namespace}/step' may not {verb} {what} in namespace '{place.api.namespace}'"
    )
    with pytest.raises(StepFailed, match=sentence):
        place.release("1")

    assert place.champion() is None
