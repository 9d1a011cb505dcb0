"""A real Kubernetes takes every manifest, admits every pod, and gives the pipeline's account exactly its rights.

Against the API server of KUBECONFIG, in namespaces of the test's own; it needs KServe's definitions.
"""

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from components.shared.project import ServingSettings
from components.shared.release.kserve import objects as manifest
from tests.infra import cluster, rendered

KUBECONFIG = os.environ.get("KUBECONFIG", "")
pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="no KUBECONFIG: it names the API server to apply to")
ROLE = yaml.safe_load((rendered.INFRA / "base" / "models" / "role.yaml").read_text())
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
# What somebody may do who may do nothing: ask about itself and about the server.
BASIC = {"authorization.k8s.io", "authentication.k8s.io"}


@pytest.fixture(name="kubernetes", scope="module")
def _kubernetes() -> cluster.Cluster:
    found = cluster.Cluster(KUBECONFIG)
    if not found.has("serving.kserve.io/v1alpha1", "ClusterStorageContainer"):
        pytest.skip("this API server has no KServe definitions; install KServe, or apply its CRDs")
    return found


@pytest.fixture(name="applied", scope="module", params=rendered.OVERLAYS)
def _applied(kubernetes: cluster.Cluster, request: Any) -> Iterator[tuple[str, list[Any], list[tuple[Any, str]]]]:
    """Prefix, manifests, and what the server answered to each when it was applied for the first time."""
    brought = cluster.storage(kubernetes)
    with cluster.namespaces(kubernetes) as prefix:
        documents = cluster.renamed(request.param, prefix)
        if not kubernetes.has("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy"):
            documents = [one for one in documents if not one["apiVersion"].startswith("gateway.envoyproxy.io/")]
        try:
            yield prefix, documents, [kubernetes.apply(document) for document in documents]
        finally:
            if brought:
                kubernetes.delete(brought)


def test_every_manifest_applies_strictly_and_without_a_warning(applied):
    _, documents, answers = applied

    assert [answer["kind"] for answer, _ in answers] == [document["kind"] for document in documents]
    assert [warning for _, warning in answers if warning] == []


def test_applying_twice_changes_nothing(kubernetes, applied):
    _, documents, _ = applied
    before = [kubernetes.call("GET", kubernetes.path(document))[0] for document in documents]

    again = [kubernetes.apply(document)[0] for document in documents]

    for first, second in zip(before, again, strict=True):
        # Controllers write statuses meanwhile; what is ours must be the same, down to the time of our last change.
        assert first["metadata"].get("generation") == second["metadata"].get("generation")
        assert _ours(first) == _ours(second)
        if "status" not in second:
            assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def _ours(answer: dict[str, Any]) -> list[Any]:
    return [entry for entry in answer["metadata"]["managedFields"] if entry["manager"] == "perennial"]


def test_a_misspelt_field_is_refused(kubernetes, applied):
    _, documents, _ = applied
    wrong = copy.deepcopy(next(one for one in documents if one["kind"] == "Deployment"))
    wrong["spec"]["replica"] = 2

    with pytest.raises(ApiException, match=r"field not declared in schema|unknown field"):
        kubernetes.apply(wrong)


def _pod(workload: dict[str, Any]) -> dict[str, Any]:
    template = workload["spec"]["template"]
    metadata = {"name": "admitted", "namespace": workload["metadata"]["namespace"], **template["metadata"]}
    spec = copy.deepcopy(template["spec"])
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_the_namespaces_admit_our_pods_and_no_others(kubernetes, applied):
    _, documents, _ = applied
    for workload in rendered.of_kind(documents, *rendered.WORKLOADS):
        pod = _pod(workload)
        _, warning = kubernetes.create(pod, dryRun="All")
        assert warning == ""
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(ApiException, match="violates PodSecurity"):
            kubernetes.create(pod, dryRun="All")


def test_the_namespace_of_models_admits_a_model_as_kserve_makes_it(kubernetes, applied):
    """KServe puts a container of its own before ours, which only the patch of the overlays makes admissible."""
    prefix, documents, _ = applied
    [patch] = rendered.of_kind(documents, "ClusterStorageContainer")
    [server] = manifest.serving_runtime(ServingSettings(), "perennial/serving:1")["spec"]["containers"]
    fetch = {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.21.0"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "model",
            "namespace": f"{prefix}-perennial-models",
            "labels": {"perennial/project": "made"},
        },
        "spec": {
            "serviceAccountName": "perennial-models",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{**fetch, "securityContext": patch["spec"]["container"]["securityContext"]}],
            "containers": [{**server, "volumeMounts": []}],
        },
    }

    _, warning = kubernetes.create(pod, dryRun="All")
    assert warning == ""

    pod["spec"]["initContainers"] = [fetch]
    with pytest.raises(ApiException, match="violates PodSecurity"):
        kubernetes.create(pod, dryRun="All")


def _rights(kubernetes: cluster.Cluster, prefix: str, namespace: str) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of all that the pipeline's account may do in a namespace, as the server lists it."""
    account = f"system:serviceaccount:{prefix}-kubeflow:pipeline-runner"
    answer, _, _ = kubernetes.call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        {"spec": {"namespace": namespace}},
        headers={"Impersonate-User": account},
    )
    return {
        (group, resource, verb)
        for rule in answer["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if group not in BASIC
    }


def _expected(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_pipelines_account_may_do_what_the_role_says_and_nothing_else(kubernetes, applied):
    prefix, _, _ = applied

    assert _expected(ROLE["rules"]) == _rights(kubernetes, prefix, f"{prefix}-perennial-models")
    assert set() == _rights(kubernetes, prefix, f"{prefix}-perennial")
    assert set() == _rights(kubernetes, prefix, "default")


def _may(kubernetes: cluster.Cluster, account: str, namespace: str, group: str, resource: str, verb: str) -> bool:
    resource, _, subresource = resource.partition("/")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource}
    answer, _, _ = kubernetes.call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": asked}},
        headers={"Impersonate-User": account},
    )
    return bool(answer["status"]["allowed"])


def test_the_server_decides_verb_by_verb_as_the_role_says(kubernetes, applied):
    prefix, _, _ = applied
    granted = _expected(ROLE["rules"])
    others = {("", "secrets"), ("", "configmaps"), ("", "serviceaccounts"), ("apps", "replicasets"), ("batch", "jobs")}
    others |= {("rbac.authorization.k8s.io", "roles"), ("networking.k8s.io", "networkpolicies"), ("", "pods/exec")}
    account = f"system:serviceaccount:{prefix}-kubeflow:pipeline-runner"
    asked = {(group, resource, verb) for group, resource, _ in granted for verb in VERBS}
    asked |= {(group, resource, verb) for group, resource in others for verb in VERBS}

    assert granted == {one for one in asked if _may(kubernetes, account, f"{prefix}-perennial-models", *one)}


def test_no_other_account_of_ours_may_do_anything(kubernetes, applied):
    _, documents, _ = applied
    for account in rendered.of_kind(documents, "ServiceAccount"):
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        user = f"system:serviceaccount:{namespace}:{name}"
        for group, resource, verb in _expected(ROLE["rules"]):
            assert not _may(kubernetes, user, namespace, group, resource, verb)
