"""Every image runs as a pod in a namespace that refuses whatever is not restricted.

On the cluster of KUBECONFIG, whose nodes must have the images of this checkout (or be able to pull them).
"""

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.images import builder as images
from pipelines.images.environments import steps
from pipelines.targets.model import Images

KUBECONFIG = os.environ.get("KUBECONFIG", "")
pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="no KUBECONFIG: it names the cluster on which pods run")
BASE = os.environ.get("PERENNIAL_BASE", Images().base)
REGISTRY = os.environ.get("PERENNIAL_REGISTRY", "")
SERVERS = {
    "serving": "serving.server",
    "collector": "serving.collector.app",
    "mlflow": "mlflow.server",
    "feature_server": "feast.feature_server",
}
CANNOT_PULL = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
DEADLINE_S = 240


@pytest.fixture(name="api", scope="module")
def _api():
    from kubernetes import client, config

    config.load_kube_config(KUBECONFIG)
    return client.CoreV1Api()


@pytest.fixture(name="namespace", scope="module")
def _namespace(api) -> Iterator[str]:
    name = f"perennial-images-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create_namespace({"metadata": {"name": name, "labels": labels}})
    # A pod is refused until the namespace's own service account is there.
    end = time.monotonic() + DEADLINE_S
    while not api.list_namespaced_service_account(name).items and time.monotonic() < end:
        time.sleep(0.1)
    yield name
    api.delete_namespace(name)


def pod(name: str, restricted: bool = True) -> dict[str, Any]:
    """Describe a pod that imports what the image is for, on a read-only root, as somebody whom the image never saw."""
    modules = [SERVERS[name]] if name in SERVERS else [f"components.{name}.logic", "kfp.dsl.executor_main"]
    code = f"import os, importlib; [importlib.import_module(m) for m in {modules}]; print('imported by', os.getuid())"
    inner = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "metadata": {"name": name.replace("_", "-")},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 12345, "runAsGroup": 23456},
            "containers": [
                {
                    "name": "main",
                    "image": images.reference(name, BASE, REGISTRY),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", code],
                    "env": [{"name": "_KFP_RUNTIME", "value": "true"}],
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    "securityContext": inner if restricted else {},
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def run(api, namespace: str, name: str) -> tuple[str, str]:
    """Run a pod to its end; return its phase and its log."""
    api.create_namespaced_pod(namespace, pod(name))
    label, end = name.replace("_", "-"), time.monotonic() + DEADLINE_S
    try:
        while True:
            status = api.read_namespaced_pod_status(label, namespace).status
            waiting = [c.state.waiting.reason for c in status.container_statuses or [] if c.state.waiting]
            if CANNOT_PULL & set(waiting):
                pytest.skip(f"the node has no image {images.reference(name, BASE, REGISTRY)}; import it, or push it")
            if status.phase in ("Succeeded", "Failed"):
                return status.phase, api.read_namespaced_pod_log(label, namespace)
            assert time.monotonic() < end, f"still {status.phase} after {DEADLINE_S} s: {status}"
            time.sleep(0.5)
    finally:
        api.delete_namespaced_pod(label, namespace, grace_period_seconds=0)


@pytest.mark.parametrize("name", [*steps(), *SERVERS])
def test_an_image_runs_under_the_restricted_security_context(api, namespace, name):
    phase, log = run(api, namespace, name)

    assert (phase, log.strip().splitlines()[-1:]) == ("Succeeded", ["imported by 12345"]), log[-2000:]


def test_the_namespace_refuses_what_is_not_restricted(api, namespace):
    from kubernetes.client.exceptions import ApiException

    with pytest.raises(ApiException, match="violates PodSecurity"):
        api.create_namespaced_pod(namespace, pod("gate", restricted=False))
