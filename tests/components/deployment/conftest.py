"""The API server that releases on a cluster are tested against."""

import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from components.shared import registry
from components.shared.documents.release import RegisteredVersion
from components.shared.evidence import Candidate
from components.shared.release.kserve import objects
from tests.components import made_candidate
from tests.components.deployment import api_server
from tests.components.deployment import kserve_double as double
from tests.components.deployment.kserve_double import Behaviour
from tests.components.deployment.kserve_place import NAME, Place


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name the server of KUBECONFIG, or start a double and let KUBECONFIG name that for every process."""
    if existing := os.environ.get("KUBECONFIG"):
        yield existing
        return
    path, server = api_server.start(tmp_path_factory.mktemp("api"))
    os.environ["KUBECONFIG"] = str(path)
    try:
        yield str(path)
    finally:
        del os.environ["KUBECONFIG"]
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def no_other_kserve(kubeconfig: str) -> None:
    """The doubles stand for KServe; a real one beside them would undo what they do."""
    webhooks = double.Api(kubeconfig, "").call(
        "GET", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    )
    if any("kserve" in one["metadata"]["name"] for one in webhooks["items"]):
        pytest.skip("a real KServe runs there, these tests bring a double of it: give an API server without one")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A registry with versions 1 to 3 of the model, and a release folder of each."""
    folder = tmp_path_factory.mktemp("models")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = registry.open(uri)
    experiment = registry.experiment(client, uri, NAME)
    client.create_registered_model(NAME)
    plans = {}
    for version in ("1", "2", "3"):
        evidence = made_candidate.evidence(folder / version, weights_hash=version * 64)
        run = client.create_run(experiment).info.run_id
        client.log_artifacts(run, str(evidence.model), "model")
        made: Any = SimpleNamespace(version=version, run_id=run, source=f"runs:/{run}/model")
        client.create_model_version(NAME, made.source, run)
        client.set_model_version_tag(NAME, version, registry.COMPLETE, "true")
        candidate = Candidate.read(evidence, made_candidate.CODE)
        objects.write(folder / "releases" / version, candidate, made, False, "d" * 64, f"registration-{version}")
        plans[version] = RegisteredVersion.read(folder / "releases" / version)
    return SimpleNamespace(folder=folder, uri=uri, client=client, plans=plans)


@pytest.fixture
def place(
    models: SimpleNamespace, request: pytest.FixtureRequest, kubeconfig: str, no_other_kserve: None
) -> Iterator[Place]:
    behaviour = getattr(request, "param", None) or Behaviour()
    with double.namespace(kubeconfig) as api:
        made = Place(api, models, replace(behaviour, pods=dict(behaviour.pods)))
        yield made
        made.controller.end()
        made.gateway.end()
