"""The objects that describe a release to KServe: an InferenceService and its ServingRuntime.

The local endpoint reads the same files.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.shared import files, registry, telemetry
from components.shared.documents.release import RegisteredVersion
from components.shared.evidence import COMMIT, Candidate
from components.shared.images import image
from components.shared.project import Project, ServingSettings

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL_FORMAT = "perennial"
PROJECT = "perennial/project"
VERSION = "perennial/version"
SERVICE_ACCOUNT = "perennial-models"
LABELS = {"app.kubernetes.io/managed-by": "perennial", "app.kubernetes.io/part-of": "perennial"}
# What `python -m serving` takes in a pod, where KServe has put the package at /mnt/models.
_SERVE = ("--model-dir=/mnt/models", "--host=0.0.0.0", "--port=8080", "--grpc-port=8081", "--authenticated-by=gateway")
# Segments wait here for the collector, in the folder that is writable.
_LOG = "/tmp/log"
# KServe appends "-predictor" and the like; a label of DNS has 63 characters.
_NAME_LENGTH = 40
# Requests that were begun before the drain have this long to end; the server gives up after a third of it.
_FINISH_S = 30
_PROBE_S = 2


def write(
    folder: Path,
    candidate: Candidate,
    version: "ModelVersion",
    unchanged: bool,
    manifest_sha256: str,
    registration: str,
) -> None:
    """Write ``inferenceservice.yaml``, ``servingruntime.yaml`` and ``release.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    project = candidate.project
    reference = candidate.code.get("image:serving", image("serving"))
    runtime = serving_runtime(project.serving, reference, options(project))
    service = inference_service(
        candidate, str(version.version), str(version.source), manifest_sha256, runtime["metadata"]["name"]
    )
    for name, document in (("inferenceservice", service), ("servingruntime", runtime)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    RegisteredVersion(
        name=candidate.project.name,
        version=str(version.version),
        run_id=version.run_id,
        fingerprint=candidate.fingerprint,
        storage_uri=str(version.source),
        unchanged=unchanged,
        manifest_sha256=manifest_sha256,
        registration=registration,
    ).write(folder)


def inference_service(
    candidate: Candidate, version: str, storage_uri: str, manifest_sha256: str, runtime: str
) -> dict[str, Any]:
    """Describe the service; the predictor is named by its version, so that a canary can be added.

    A service without a named predictor can't get one later without a new storage URI, so the first has one, too.
    KServe hands the service's annotations and labels on to every pod: they never change, or the champion's pods would
    be replaced. What differs between versions is at the predictor.
    """
    project = candidate.project
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": resource_name(project.name),
            "labels": {**LABELS, PROJECT: project.name},
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
            },
        },
        "spec": {
            "predictor": {
                "name": f"v{version}",
                "labels": {PROJECT: project.name, VERSION: version},
                "annotations": {
                    registry.FINGERPRINT.replace("perennial.", "perennial/"): candidate.fingerprint,
                    COMMIT.replace("perennial.", "perennial/"): candidate.code.get("commit", "unknown"),
                },
                "model": {
                    "modelFormat": {"name": MODEL_FORMAT, "version": "1"},
                    "runtime": runtime,
                    "storageUri": _storage(storage_uri),
                    "args": [
                        f"--version={version}",
                        f"--manifest-sha256={manifest_sha256}",
                        *(f"--signed-by={key}" for key in project.release.signed_by),
                    ],
                    "resources": {
                        "requests": {"cpu": project.serving.cpu, "memory": project.serving.memory},
                        "limits": {"memory": project.serving.memory_limit},
                    },
                },
                **_scale(project.serving),
                **_pod(project, version),
            }
        },
    }


def _storage(uri: str) -> str:
    """End a bucket's URI with a slash, or KServe would also load every key that begins like it."""
    return uri if uri.startswith("file:") else uri.rstrip("/") + "/"


def _scale(serving: ServingSettings) -> dict[str, Any]:
    scale: dict[str, Any] = {
        "minReplicas": serving.replicas_min,
        "maxReplicas": serving.replicas_max,
        "scaleMetric": serving.scale_metric,
        "scaleTarget": serving.scale_target,
    }
    if serving.log_url is not None:
        scale["logger"] = {"url": serving.log_url, "mode": serving.log_mode}
    return scale


def _pod(project: Project, version: str) -> dict[str, Any]:
    """Describe the pod; a runtime can't say these."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {PROJECT: project.name, VERSION: version}},
    }
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": project.serving.drain_s + _FINISH_S,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [spread],
    }


def options(project: Project) -> list[str]:
    """Return the server's options that come from the project: exploration, lookups, and what is logged where."""
    chosen = [f"--explore={name}={share}" for name, share in project.explored.items()]
    chosen += project.lookups(project.serving.feature_server)
    collector, monitoring = project.serving.collector, project.monitoring
    if monitoring.access_log:
        # The cluster keeps and rotates what a pod prints.
        chosen.append("--access-log=-")
    if collector is None or not monitoring.log:
        return chosen
    redacted = [f"--log-redact={feature}" for feature in monitoring.redact]
    log = [f"--log-dir={_LOG}", f"--log-collector={collector}", f"--log-sample={monitoring.log_sample}"]
    return [*chosen, *log, *redacted]


def serving_runtime(serving: ServingSettings, reference: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the runtime; KServe fills the service's name in for ``{{.Name}}``.

    It is named by its content: projects that agree share one, and a new image makes a new one and keeps the champion's.

    Args:
        serving: The project's settings.
        reference: The image of the server.
        options: Of the server, beside those that every runtime has.
    """
    # Python, since every image has it, and not every cluster knows a preStop of its own that sleeps.
    sleep = ["python", "-c", f"import time; time.sleep({serving.drain_s})"]
    ready = {"httpGet": {"path": "/v2/health/ready", "port": 8080}}
    alive = {"httpGet": {"path": "/v2/health/live", "port": 8080}}
    container = {
        "name": "kserve-container",
        "image": reference,
        "command": ["python", "-m", "serving"],
        "args": ["--name={{.Name}}", *_SERVE, *options],
        "env": [{"name": key, "value": value} for key, value in telemetry.OFF.items()],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "startupProbe": {**ready, "periodSeconds": _PROBE_S, "failureThreshold": math.ceil(serving.start_s / _PROBE_S)},
        "readinessProbe": {**ready, "periodSeconds": _PROBE_S, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": sleep}}},
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {
        "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": False}],
        "protocolVersions": ["v1", "v2", "grpc-v2"],
        "containers": [container],
        # The root file system is read-only, and Python's tempfile needs a folder.
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": f"perennial-{files.digest(spec)[:8]}", "labels": LABELS},
        "spec": spec,
    }


def resource_name(project_name: str) -> str:
    """Turn a project's name into a DNS label; a long one is cut and made unique by a digest.

    >>> resource_name("telco_churn")
    'telco-churn'
    """
    label = project_name.replace("_", "-").strip("-")
    if len(label) > _NAME_LENGTH:
        digest = hashlib.sha256(project_name.encode()).hexdigest()[:8]
        label = f"{label[: _NAME_LENGTH - 9].rstrip('-')}-{digest}"
    return label
