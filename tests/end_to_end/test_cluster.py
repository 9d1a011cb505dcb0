"""On a cluster the example is trained, released on KServe, and answers through the gateway.

It runs against what the environment names, and skips where something is missing:

- ``KUBECONFIG``: the cluster, as somebody who may read and delete an InferenceService
- ``KFP_HOST``: Kubeflow Pipelines as reached from here (``http://localhost:8888`` behind a port-forward)
- ``GATEWAY_URL``: the gateway as reached from here (``http://localhost:8080`` behind a port-forward)
- ``PERENNIAL_TARGET``: a target file, where the shipped ``kfp`` does not fit; it may need ``AWS_ACCESS_KEY_ID`` and
  ``AWS_SECRET_ACCESS_KEY``, with which tables are uploaded
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from components.shared.release.kserve.address import Address
from pipelines.images.environments import ROOT
from pipelines.targets import reading
from pipelines.targets.model import Kfp
from tests.end_to_end.command import edit, perennial, records

TARGET = os.environ.get("PERENNIAL_TARGET", "kfp")
NEEDED = {
    "KUBECONFIG": "the cluster",
    "KFP_HOST": "Kubeflow Pipelines' address",
    "GATEWAY_URL": "the gateway's address",
}
MISSING = [f"no {name}: it is {what}" for name, what in NEEDED.items() if not os.environ.get(name)]
pytestmark = [pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING)), pytest.mark.timeout(3600)]
KSERVE = ("serving.kserve.io", "v1beta1")


@dataclass(frozen=True)
class Released:
    """What the one run of this module left on the cluster."""

    folder: Path
    name: str
    namespace: str
    objects: Any
    service: dict[str, Any]


@pytest.fixture(name="released", scope="module")
def _released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    from kubernetes import client, config

    folder = tmp_path_factory.mktemp("cluster")
    shutil.copy(ROOT / "project.yaml", folder)
    shutil.copytree(ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    # A name of its own: a service of the cluster's users must not be replaced by a test.
    name = f"churn-{uuid.uuid4().hex[:6]}"
    open_gate = {
        "beat_rule": False,
        "plain_margin": None,
        "champion_margin": None,
        "probability_margin": None,
        "decision_margin": None,
        "value_positive": False,
    }
    edit(folder, name=name, tuning={"trials": 1}, gate=open_gate)
    perennial("simulate", "--customers", 1500, "--months", 8, cwd=folder)
    target = reading.read(TARGET, folder)
    assert isinstance(target, Kfp)
    namespace = Address.parse(target.services.endpoint).namespace
    settings = client.Configuration()
    config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=settings)
    objects = client.CustomObjectsApi(client.ApiClient(settings))
    try:
        perennial("submit", *where(), cwd=folder)
        service = objects.get_namespaced_custom_object(*KSERVE, namespace, "inferenceservices", name)
        yield Released(folder, name, namespace, objects, service)
    finally:
        with contextlib.suppress(client.ApiException):
            objects.delete_namespaced_custom_object(*KSERVE, namespace, "inferenceservices", name)


def where() -> tuple[str, ...]:
    return ("--target", TARGET, "--set", f"host={os.environ['KFP_HOST']}")


def test_the_release_is_ready_on_kserve(released):
    ready = [one for one in released.service["status"]["conditions"] if one["type"] == "Ready"]

    assert [one["status"] for one in ready] == ["True"]
    assert released.service["spec"]["predictor"]["name"] == "v1"


def test_the_release_answers_through_the_gateway(released):
    [customer] = pq.read_table(released.folder / ".perennial" / "data" / "profiles.parquet").slice(0, 1).to_pylist()
    features = yaml.safe_load((released.folder / "project.yaml").read_text())["features"]["columns"]
    # What a customer's profile does not say is missing, but the contacts, which must be known.
    row = dict.fromkeys(features) | {name: customer[name] for name in features if name in customer}
    row |= {"contacts_90d": 0, "unhappy_90d": 0}

    answer = httpx.post(
        f"{os.environ['GATEWAY_URL'].rstrip('/')}/v1/models/{released.name}:predict",
        headers={"Host": urlsplit(released.service["status"]["url"]).netloc},
        json={"instances": [row]},
        timeout=60,
    )

    assert answer.status_code == 200, answer.text
    assert 0 <= answer.json()["predictions"][0]["score"] <= 1


def test_the_run_is_listed_and_its_steps_have_logs(released):
    [record] = records(released.folder)

    listed = perennial("runs", *where(), cwd=released.folder, COLUMNS="200").stdout
    gate = perennial("logs", record["remote"], "gate", *where(), cwd=released.folder).stdout

    assert any(record["remote"] in line and "succeeded" in line for line in listed.splitlines())
    assert gate.strip()
