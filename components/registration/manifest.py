"""The release manifest: what KServe on a cluster and the local endpoint read alike."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.shared import files, registry, telemetry
from components.shared.evidence import COMMIT, Candidate
from components.shared.images import image

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

RUNTIME = "perennial"
MODEL_FORMAT = "perennial"
# What `python -m serving` takes in a pod, where KServe has put the package at /mnt/models.
_SERVE = ("--model-dir=/mnt/models", "--host=0.0.0.0", "--port=8080", "--grpc-port=8081")
# KServe appends "-predictor" and the like; a label of DNS has 63 characters.
_NAME_LENGTH = 40


def write(folder: Path, candidate: Candidate, version: "ModelVersion", unchanged: bool, manifest_sha256: str) -> None:
    """Write ``inferenceservice.yaml``, ``servingruntime.yaml`` and ``release.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    service = inference_service(candidate, str(version.version), str(version.source))
    for name, document in (("inferenceservice", service), ("servingruntime", serving_runtime())):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    release = {
        "name": candidate.project.name,
        "version": str(version.version),
        "run_id": version.run_id,
        "fingerprint": candidate.fingerprint,
        "storage_uri": version.source,
        "unchanged": unchanged,
        "manifest_sha256": manifest_sha256,
    }
    files.write_json(folder / "release.json", release)


def inference_service(candidate: Candidate, version: str, storage_uri: str) -> dict[str, Any]:
    """Describe the service; the predictor is named by its version, so that a canary can stand beside it.

    A service without a named predictor can't get one later without a new storage URI, so the first has one, too.
    """
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": resource_name(candidate.project.name),
            "labels": {"app.kubernetes.io/managed-by": "perennial"},
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                registry.FINGERPRINT.replace("perennial.", "perennial/"): candidate.fingerprint,
                COMMIT.replace("perennial.", "perennial/"): candidate.code.get("commit", "unknown"),
            },
        },
        "spec": {
            "predictor": {
                "name": f"v{version}",
                "model": {
                    "modelFormat": {"name": MODEL_FORMAT, "version": "1"},
                    "runtime": RUNTIME,
                    "storageUri": storage_uri,
                },
            }
        },
    }


def serving_runtime() -> dict[str, Any]:
    """Describe the runtime: one image for every project; KServe fills the service's name in for ``{{.Name}}``."""
    name = "{{.Name}}"
    ready = {"httpGet": {"path": f"/v2/models/{name}/ready", "port": 8080}}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": RUNTIME, "labels": {"app.kubernetes.io/managed-by": "perennial"}},
        "spec": {
            "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": image("serving"),
                    "command": ["python", "-m", "serving"],
                    "args": [f"--name={name}", *_SERVE],
                    "env": [{"name": key, "value": value} for key, value in telemetry.OFF.items()],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 30},
                    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
                    "securityContext": {
                        "runAsNonRoot": True,
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            # The root file system is read-only, and Python's tempfile wants a place.
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def resource_name(project_name: str) -> str:
    """Turn a project's name into a DNS label; a long one is cut and told apart by a digest.

    >>> resource_name("telco_churn")
    'telco-churn'
    """
    label = project_name.replace("_", "-").strip("-")
    if len(label) > _NAME_LENGTH:
        digest = hashlib.sha256(project_name.encode()).hexdigest()[:8]
        label = f"{label[: _NAME_LENGTH - 9].rstrip('-')}-{digest}"
    return label
