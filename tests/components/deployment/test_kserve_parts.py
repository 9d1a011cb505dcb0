"""What the release on a cluster decides from documents alone, without a cluster."""

import doctest
import json
from types import SimpleNamespace
from typing import Any

import pytest

from components.shared.errors import InputError, StepFailed
from components.shared.release.kserve import address, canary, cluster, counting, pods, routes
from components.shared.release.kserve.address import Address
from components.shared.release.pace import Pace


@pytest.mark.parametrize("module", [address, canary, counting, pods, routes])
def test_the_examples_in_the_docstrings_are_true(module):
    assert doctest.testmod(module).failed == 0


def test_a_namespace_is_enough_of_an_address():
    assert Address.parse("kserve://models") == Address("models")


def test_an_address_says_where_the_gateway_is():
    text = "kserve://models?gateway=infra/public&ingress=https://10.0.0.1:8443&domain=example.com&kserve=serving"

    assert Address.parse(text) == Address(
        "models", ("infra", "public"), "https://10.0.0.1:8443", "example.com", "serving"
    )


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("kserve://", "names no namespace"),
        ("kserve://models/x", "names no namespace"),
        ("kserve://models?gatway=a/b", r"has the keys \['gatway'\]; expected some of \['gateway'"),
        ("kserve://models?gateway=a", "gateway is 'a'; expected '<namespace>/<name>'"),
        ("kserve://models?ingress=10.0.0.1", "ingress is '10.0.0.1'; expected a URL"),
    ],
)
def test_an_address_that_says_nothing_usable_is_refused(endpoint, sentence):
    with pytest.raises(InputError, match=sentence):
        Address.parse(endpoint)


def route(
    *rules: dict[str, int], generation: int = 2, conditions: tuple[tuple[str, str, int], ...] = ()
) -> dict[str, Any]:
    backends = [{"backendRefs": [{"name": name, "weight": weight} for name, weight in rule.items()]} for rule in rules]
    taken = [{"type": kind, "status": good, "observedGeneration": seen} for kind, good, seen in conditions]
    spec = {"metadata": {"generation": generation}, "spec": {"rules": backends}}
    return spec | {"status": {"parents": [{"conditions": taken}]}}


@pytest.mark.parametrize(
    ("found", "everything", "alone"),
    [
        (None, False, False),
        (route(), False, False),
        (route({"new": 1}), True, True),
        (route({"old": 0, "new": 100}), True, False),
        (route({"old": 100, "new": 0}), False, False),
        (route({"old": 1, "new": 99}), False, False),
        (route({"old": 0, "new": 100}, {"old": 100}), False, False),
        (route({"old": 0}), False, False),
    ],
)
def test_the_weights_of_every_rule_say_who_answers(found, everything, alone):
    assert routes.leads_to(found, "new") is everything
    assert routes.leads_to(found, "new", only=True) is alone


def test_a_route_is_taken_up_when_the_gateway_has_seen_it_as_it_is():
    both = (("Accepted", "True", 2), ("ResolvedRefs", "True", 2))

    assert routes.accepted(route({"new": 1}, conditions=both))
    assert not routes.accepted(route({"new": 1}, conditions=both, generation=3))
    assert not routes.accepted(route({"new": 1}, conditions=both[:1]))
    assert not routes.accepted(route({"new": 1}))
    assert not routes.accepted(None)


def test_a_canary_has_a_fixed_number_of_pods_and_a_named_container():
    predictor = {"name": "v2", "minReplicas": 2, "maxReplicas": 5, "scaleMetric": "cpu", "scaleTarget": 80}
    predictor |= {"model": {"runtime": "r"}, "serviceAccountName": "s"}

    entry = canary._canary_entry(predictor, 1, 0)

    model = {"runtime": "r", "name": "kserve-container"}
    assert entry["predictor"] == {"name": "v2", "minReplicas": 1, "serviceAccountName": "s", "model": model}
    assert entry["trafficPercent"] == 0


def pod(**status: Any) -> dict[str, Any]:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    return {"spec": {"containers": [{"name": "kserve-container", **limits}]}, "status": status}


def container(name: str = "kserve-container", restarts: int = 0, **states: Any) -> dict[str, Any]:
    return {"name": name, "image": "serving:1", "restartCount": restarts, "state": {}, "lastState": {}} | states


OUT_OF_MEMORY = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
CRASHED = {"terminated": {"exitCode": 5, "reason": "Error"}}


@pytest.mark.parametrize(
    ("found", "kind", "permanent"),
    [
        (pod(containerStatuses=[container(state={"waiting": {"reason": "ErrImagePull"}})]), "image", False),
        (pod(containerStatuses=[container(state={"waiting": {"reason": "ErrImageNeverPull"}})]), "image", True),
        (pod(containerStatuses=[container(restarts=1, lastState=OUT_OF_MEMORY)]), "memory", False),
        (pod(containerStatuses=[container(restarts=2, lastState=OUT_OF_MEMORY)]), "memory", True),
        (pod(containerStatuses=[container(restarts=2, lastState=CRASHED)]), "crash", False),
        (pod(containerStatuses=[container(restarts=3, state=CRASHED)]), "crash", True),
        (pod(initContainerStatuses=[container("storage-initializer", restarts=3, lastState=CRASHED)]), "crash", True),
        (pod(phase="Failed", reason="Evicted", message="low on disk"), "failed", False),
    ],
)
def test_a_pods_status_says_what_is_wrong_and_whether_it_can_get_better(found, kind, permanent):
    trouble = pods.problem(found)

    assert trouble is not None
    assert (trouble.kind, trouble.permanent) == (kind, permanent)


def test_a_pod_that_is_starting_has_no_trouble():
    creating = container(state={"waiting": {"reason": "ContainerCreating"}})

    assert pods.problem(pod(phase="Pending", containerStatuses=[creating])) is None
    assert pods.problem(pod(initContainerStatuses=[container(state={"terminated": {"exitCode": 0}})])) is None


def refused(status: int, message: str) -> str:
    answer = SimpleNamespace(body=json.dumps({"message": message}), reason="")
    return cluster._message(answer, status, "HTTPRoute", "models")


def test_a_right_that_is_missing_is_named_with_who_lacks_it():
    who, group = "system:serviceaccount:kubeflow:runner", "gateway.networking.k8s.io"
    answer = f'httproutes.{group} is forbidden: User "{who}" cannot patch resource "httproutes" in API group "{group}"'

    sentence = refused(403, f'{answer} in the namespace "models"')

    assert sentence.startswith(
        f"the service account 'kubeflow/runner' may not patch httproutes.{group} in namespace 'models'; grant it"
    )


def test_a_policy_that_refuses_is_quoted():
    assert "(403): admission webhook denied it: no such team" in refused(
        403, "admission webhook denied it: no such team"
    )


def test_an_unknown_field_is_named_without_the_object_around_it():
    answer = (
        ' "" is invalid: patch: Invalid value: "{...}": strict decoding error: unknown field "spec.predictor.modle"'
    )

    assert refused(422, answer).endswith('(422): strict decoding error: unknown field "spec.predictor.modle"')


def test_a_cluster_without_kserve_is_told_from_an_object_that_is_not_there():
    assert "has no HTTPRoute; install KServe" in refused(404, "404 page not found")
    assert "refuses the HTTPRoute (422): no" in refused(422, "no")


def test_without_a_cluster_the_sentence_says_how_to_name_one(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(InputError, match=r"no cluster is configured here .*; set KUBECONFIG"):
        cluster.Cluster("models")


def test_a_deadline_is_said_with_its_length():
    with pytest.raises(StepFailed, match=r"It did not come within 0 s\."):
        Pace(poll_s=0.01).until(lambda: False, 0.05, "It did not come")
