"""A registry on this machine and the releases of its project are found again after they were moved or copied."""

import shutil
from pathlib import Path

import pytest

from components.shared import files, registry, registry_state
from components.shared.documents.release import RegisteredVersion
from components.shared.release import endpoint_folder

NAME = "churn"


@pytest.fixture
def state(tmp_path) -> Path:
    """Return the state folder of a project with one registered and installed version."""
    state = tmp_path / "a b" / ".perennial"
    uri = f"sqlite:///{state / 'mlflow.db'}"
    client = registry.open(uri)
    run = client.create_run(registry.experiment(client, uri, NAME), tags={registry.ACCEPTED: "true"})
    client.log_text(run.info.run_id, "weights", "model/model.onnx")
    client.log_text(run.info.run_id, "{}", "statistics/statistics.json")
    client.set_terminated(run.info.run_id)
    client.create_registered_model(NAME)
    version = client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
    registry.move_alias(client, NAME, registry.CHAMPION, version.version)
    release = RegisteredVersion(name=NAME, version="1", storage_uri=version.source)
    release.write(endpoint_folder.release_folder(state / "endpoint", "1"))
    return state


def described(state: Path) -> registry_state.RegistryState:
    return registry_state.read(registry.open(f"sqlite:///{state / 'mlflow.db'}"), NAME)


def test_a_copied_registry_has_its_own_artifacts_and_the_original_keeps_its(state, tmp_path):
    before = described(state)
    copied = shutil.copytree(state, tmp_path / "copied" / ".perennial")
    client = registry.open(f"sqlite:///{copied / 'mlflow.db'}")
    version = registry.version_by_alias(client, NAME, registry.CHAMPION)
    assert version is not None
    (files.from_uri(version.source) / "model.onnx").write_text("other weights")

    assert files.from_uri(version.source).is_relative_to(copied)
    assert Path(registry.download(client, version.source, tmp_path / "got") / "model.onnx").read_text() != "weights"
    new = client.create_run(registry.experiment(client, f"sqlite:///{copied / 'mlflow.db'}", NAME))
    assert files.from_uri(new.info.artifact_uri).is_relative_to(copied)
    assert described(state) == before


def test_a_moved_registry_is_in_the_same_state(state, tmp_path):
    before = described(state)
    (tmp_path / "moved").mkdir()
    state.rename(tmp_path / "moved" / ".perennial")

    assert described(tmp_path / "moved" / ".perennial") == before


def test_an_installed_release_names_the_package_beside_it(state, tmp_path):
    copied = shutil.copytree(state, tmp_path / "copied" / ".perennial")

    release = RegisteredVersion.read(endpoint_folder.release_folder(copied / "endpoint", "1"))

    package = files.from_uri(release.storage_uri)
    assert package.is_relative_to(copied)
    assert (package / "model.onnx").read_text() == "weights"


def test_a_package_elsewhere_stays_where_it_is(tmp_path):
    RegisteredVersion(name=NAME, version="1", storage_uri="s3://models/mlartifacts/1").write(tmp_path / "bucket")
    RegisteredVersion(name=NAME, version="1", storage_uri="file:///gone/mlartifacts/1").write(tmp_path / "gone")

    assert RegisteredVersion.read(tmp_path / "bucket").storage_uri == "s3://models/mlartifacts/1"
    assert RegisteredVersion.read(tmp_path / "gone").storage_uri == "file:///gone/mlartifacts/1"
