"""The digest of the registry changes with whatever a run depends on, and with nothing else."""

import pytest

from components.champion import logic
from components.registration.logic import register
from components.rejection.logic import reject
from components.shared import files, registry, registry_state
from components.shared.errors import StepFailed
from tests.components import made_candidate
from tests.components.made_candidate import CODE, empty_registry


@pytest.fixture
def uri(tmp_path):
    return empty_registry(tmp_path / "state")


def state(uri):
    return registry_state.read(registry.open(uri), "made")


def registered(folder, uri, **changed):
    evidence = made_candidate.evidence(folder, **changed)
    return register(evidence, uri, CODE, folder / "release", folder / "card.md", folder / "card.html")


@pytest.fixture
def champion(tmp_path, uri):
    version = registered(tmp_path / "candidate", uri)
    registry.move_alias(registry.open(uri), "made", "champion", version)
    return version


def stored(uri, version):
    return files.from_uri(registry.open(uri).get_model_version("made", version).source)


def test_an_empty_registry_has_no_champion_and_always_the_same_digest(tmp_path, uri):
    assert state(uri) == registry_state.empty() and registry_state.empty().champion is None
    assert state(uri) == registry_state.read(registry.open(empty_registry(tmp_path / "b")), "made")


def test_reading_changes_nothing_and_a_champion_is_named(uri, champion):
    assert state(uri).champion == champion
    assert state(uri) == state(uri)


def test_the_digest_changes_when_the_alias_moves_and_is_the_former_one_when_it_moves_back(tmp_path, uri, champion):
    other, before, client = registered(tmp_path / "other", uri, snapshot_hash="3" * 64), state(uri), registry.open(uri)
    registry.move_alias(client, "made", "champion", other)
    moved = state(uri)
    registry.move_alias(client, "made", "champion", champion)

    assert moved.champion == other and moved.digest != before.digest
    assert state(uri) == before


def test_the_digest_changes_when_the_champions_version_is_deleted(uri, champion):
    before = state(uri)
    registry.open(uri).delete_model_version("made", champion)

    assert state(uri).champion is None and state(uri).digest != before.digest


def test_the_digest_changes_when_other_data_is_accepted(tmp_path, uri, champion):
    before = state(uri)
    rejected = made_candidate.evidence(tmp_path / "two", snapshot_hash="2" * 64, promote=False)
    reject(rejected, uri, CODE, tmp_path / "advice.md")

    assert state(uri).champion == before.champion and state(uri).digest != before.digest


@pytest.mark.parametrize("damage", ["edited", "lost", "moved away"])
def test_the_digest_changes_when_a_file_of_the_champion_does(uri, champion, damage):
    before, package = state(uri), stored(uri, champion)
    if damage == "edited":
        (package / "model.onnx").write_bytes(b"another network")
    elif damage == "lost":
        (package / "model.onnx").unlink()
    else:
        package.rename(package.with_name("elsewhere"))

    assert state(uri).digest != before.digest


def test_another_project_in_the_same_registry_changes_nothing(tmp_path, uri, champion):
    before = state(uri)
    registered(tmp_path / "theirs", uri, named=made_candidate.project(name="other"))

    assert state(uri) == before


def test_a_champion_is_fetched_by_its_digest_and_not_by_a_former_one(tmp_path, uri, champion):
    before = state(uri).digest
    arguments, outputs = (made_candidate.project(), uri), ("model", "accepted", "measured", "start")
    fetched = logic.fetch(*arguments, *(tmp_path / "a" / name for name in outputs), before)
    registry.move_alias(registry.open(uri), "made", "champion", None)

    assert fetched == champion
    with pytest.raises(StepFailed, match=r"the registry changed while the run started .* run again"):
        logic.fetch(*arguments, *(tmp_path / "b" / name for name in outputs), before)
