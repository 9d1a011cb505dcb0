"""A run has nothing to do only if inputs, registry, results and endpoint are those of an earlier run."""

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.shared.documents.release import RegisteredVersion
from components.shared.project import Retraining
from components.shared.registry_state import RegistryState
from components.shared.release import endpoint_folder, routing
from components.shared.release.routing import Routing
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.runs import Run
from pipelines.targets.local import housekeeping, unchanged
from pipelines.targets.state import State, root_of
from tests import documents

ROOT = Path("/work/churn")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
REGISTRY = RegistryState(champion="1", digest="after")
IR = {"deploymentSpec": {"executors": {"gate": {"container": {"image": "perennial/gate:1"}}}}}
ARGUMENTS = {"project_uri": "a.zip", "source_hash": "1", "seed": 7, "registry_state": "before", "code": {"commit": "c"}}


@dataclasses.dataclass(frozen=True)
class Project:
    """A project in which one run released version 1."""

    runs: Path
    endpoint: Path
    original: Run

    def earlier(self, key: str = "key", registry: RegistryState = REGISTRY) -> Run | None:
        return unchanged.earlier(runs.records(self.runs), key, registry, self.endpoint)


@pytest.fixture
def project(tmp_path) -> Project:
    original = finished(tmp_path / "runs", NOW, runs.OK)
    endpoint = tmp_path / "endpoint"
    endpoint_folder.install(Path(original.artifacts["registration.release"]), endpoint, "1")
    routing.write(endpoint, Routing.to("1"))
    return Project(tmp_path / "runs", endpoint, original)


def finished(folder: Path, now: datetime, exit_code: int, key: str = "key", after: str = "after") -> runs.Run:
    run = runs.new("churn", "training", ["training", "registration", "deployment", "rejection"], folder, now)
    for name in ("training", "registration", "deployment"):
        run.step(name).state, run.step(name).seconds = "done", 3.0
    release = run.folder / "release"
    release.mkdir()
    RegisteredVersion(name="churn", version="1", storage_uri="file:///m", fingerprint="a" * 64).write(release)
    run.artifacts, run.outputs = {"registration.release": str(release)}, {"deployment.Output": "released"}
    run.run_key, run.registry_state = key, after
    runs.end(run, exit_code, None)
    return run


# The key.


@pytest.mark.parametrize(
    "changed",
    [{"project_uri": "b.zip"}, {"source_hash": "2"}, {"seed": 8}, {"code": {"commit": "c", "image:serving": "s:2"}}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_key_changes_with_every_argument_that_decides_the_results(changed):
    assert unchanged.key(IR, ARGUMENTS | changed, ROOT) != unchanged.key(IR, ARGUMENTS, ROOT)


def test_a_key_changes_with_an_image_and_not_with_the_commit_or_the_registry():
    other = {"deploymentSpec": {"executors": {"gate": {"container": {"image": "perennial/gate:2"}}}}}
    same = ARGUMENTS | {"registry_state": "another", "code": {"commit": "d", "dirty": "true"}}

    assert unchanged.key(other, ARGUMENTS, ROOT) != unchanged.key(IR, ARGUMENTS, ROOT)
    assert unchanged.key(IR, same, ROOT) == unchanged.key(IR, ARGUMENTS, ROOT)


def test_a_key_is_the_same_after_the_project_was_moved():
    def arguments(root: Path) -> dict[str, object]:
        return {
            "project_uri": f"{root}/.perennial/bundles/a.zip",
            "source_root": str(root),
            "registry_uri": f"sqlite:///{root}/.perennial/mlflow.db",
            "seed": 7,
        }

    moved = Path("/elsewhere/churn")

    assert unchanged.key(IR, arguments(ROOT), ROOT) == unchanged.key(IR, arguments(moved), moved)
    assert unchanged.key(IR, arguments(ROOT), moved) != unchanged.key(IR, arguments(moved), moved)


# What counts as the same.


def test_the_same_inputs_registry_and_endpoint_leave_nothing_to_do(project):
    found = project.earlier()

    assert found is not None and found.id == project.original.id


def test_other_inputs_or_another_registry_have_to_run(project):
    assert project.earlier(key="other") is None
    assert project.earlier(registry=RegistryState("1", "another champion's")) is None


@pytest.mark.parametrize("exit_code", [runs.BUG, runs.BAD_INPUT, runs.BLOCKED, runs.FAILED, runs.INTERRUPTED])
def test_a_run_that_came_to_no_verdict_is_run_again(tmp_path, exit_code):
    finished(tmp_path / "runs", NOW, exit_code)

    assert unchanged.earlier(runs.records(tmp_path / "runs"), "key", REGISTRY, tmp_path / "endpoint") is None


def test_a_rejected_candidate_is_rejected_again_whatever_the_endpoint_does(tmp_path):
    rejected = finished(tmp_path / "runs", NOW, runs.REJECTED)
    found = unchanged.earlier(runs.records(tmp_path / "runs"), "key", REGISTRY, tmp_path / "endpoint")

    assert found is not None and found.id == rejected.id


def test_the_newest_run_with_the_key_decides(project):
    """An older one may fit the registry by chance, but what happened since then counts."""
    finished(project.runs, NOW + timedelta(days=1), runs.OK, after="later")

    assert project.earlier() is None
    assert project.earlier(registry=RegistryState("1", "later")) is not None


def answers_another_version(project):
    routing.write(project.endpoint, Routing.to("2"))


def answers_nothing(project):
    routing.write(project.endpoint, Routing.to(None))


def shares_its_requests(project):
    routing.write(project.endpoint, Routing(shares={"1": 90, "2": 10}))


def is_being_replaced(project):
    routing.write(project.endpoint, Routing(shares={"1": 100, "2": 0}))


def was_removed(project):
    shutil.rmtree(project.endpoint)


def lost_the_release(project):
    endpoint_folder.uninstall(project.endpoint, "1")


def holds_another_package(project):
    other = RegisteredVersion(name="churn", version="1", storage_uri="file:///m", fingerprint="b" * 64)
    other.write(endpoint_folder.release_folder(project.endpoint, "1"))


def has_a_broken_routing(project):
    (project.endpoint / Routing.FILE).write_text("{")


@pytest.mark.parametrize(
    "change",
    [
        answers_another_version, answers_nothing, shares_its_requests, is_being_replaced, was_removed, lost_the_release,
        holds_another_package, has_a_broken_routing,
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_an_endpoint_that_was_changed_has_to_be_released_to(project, change):
    change(project)

    assert project.earlier() is None


def test_a_champion_that_was_packed_again_is_still_the_release(project):
    """A laptop and Docker give the same weights, but not the same manifest."""
    folder = Path(project.original.artifacts["registration.release"])
    again = RegisteredVersion.read(folder).model_copy(update={"manifest_sha256": "c" * 64, "unchanged": True})
    again.write(folder)

    assert project.earlier() is not None


def test_results_that_were_removed_are_made_again(project):
    shutil.rmtree(project.original.artifacts["registration.release"])

    assert project.earlier() is None


# What the repeated run leaves.


def repeated(project: Project, original: runs.Run, days: int) -> runs.Run:
    run = runs.new(
        "churn", "training", [step.name for step in original.steps], project.runs, NOW + timedelta(days=days)
    )
    unchanged.repeat(run, original)
    return runs.load(run.folder / "run.json")


def test_a_repeated_run_has_the_results_its_steps_cached_and_the_name_of_the_original(project):
    run = repeated(project, project.original, 1)

    assert [(step.name, step.state) for step in run.steps] == [
        ("training", "cached"), ("registration", "cached"), ("deployment", "cached"), ("rejection", "skipped"),
    ]  # fmt: skip
    assert (run.exit_code, run.artifacts) == (runs.OK, project.original.artifacts)
    assert run.repeats == project.original.id


def test_a_second_repetition_names_the_run_that_did_the_work(project):
    first = repeated(project, project.original, 1)
    found = project.earlier()

    assert found is not None and found.id == first.id
    assert repeated(project, found, 2).repeats == project.original.id


def test_collecting_garbage_removes_repetitions_and_keeps_the_run_that_registered(tmp_path, project):
    state = dataclasses.replace(folders(tmp_path), root=tmp_path)
    shutil.move(project.runs, state.runs)
    moved = runs.load(next(state.runs.glob("*/run.json")))
    moved.artifacts = {"registration.release": str(moved.folder / "release")}
    moved.save()
    repetition = repeated(dataclasses.replace(project, runs=state.runs), moved, 1)
    housekeeping.collect(state, ["1"], keep=0, dry_run=False)

    assert moved.folder.exists() and not repetition.folder.exists()


def folders(root: Path) -> State:
    from pipelines.targets import reading

    state = State(root_of(root), reading.read("laptop", root).services)
    state.create()
    shutil.rmtree(state.runs)
    return state


# The cache.


def test_a_training_from_scratch_does_not_depend_on_the_champion_and_a_warm_start_does():
    warm = documents.PROJECT.model_copy(update={"retraining": Retraining(method="warm start")})
    for name in ("training", "loop", "reproduction"):
        ir = compilation.symbolic(name)
        begun = compilation.started_as(ir, documents.PROJECT)
        tasks = [part["dag"]["tasks"] for part in (begun["root"], *begun["components"].values()) if "dag" in part]
        [inputs] = [of_part["training"]["inputs"]["artifacts"] for of_part in tasks if "training" in of_part]

        assert inputs["start"] == inputs["project"]
        assert compilation.started_as(ir, warm) == ir


def test_only_tasks_that_take_the_parameter_become_cached():
    ir = compilation.symbolic("training")
    changed = compilation.cached_by(ir, "registry_state")
    tasks, before = changed["root"]["dag"]["tasks"], ir["root"]["dag"]["tasks"]

    assert not before["champion"].get("cachingOptions") and tasks["champion"]["cachingOptions"] == {"enableCache": True}
    assert {name for name in tasks if tasks[name] != before[name]} == {"champion"}
