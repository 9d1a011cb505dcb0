"""What only a cluster knows is added to the same pipeline: nothing of its steps changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.errors import InputError
from components.shared.images import image
from components.shared.project import Project, ReleaseSettings, Resources
from pipelines.definitions import compilation
from pipelines.definitions.batch_scoring import batch_scoring_pipeline
from pipelines.definitions.loop import loop_pipeline
from pipelines.definitions.training import training_pipeline
from pipelines.images.environments import ROOT, steps
from pipelines.project import project_file
from pipelines.targets import reading
from pipelines.targets.kfp import lint, placement, submission
from pipelines.targets.model import Kfp
from pipelines.targets.protocol import RunRequest
from pipelines.targets.state import State

REFERENCES = {step: f"registry.example.com/{image(step)}:0123456789abcdef" for step in steps()}


def target(*overrides: str) -> Kfp:
    read = reading.read("kfp", ROOT, overrides)
    assert isinstance(read, Kfp)
    return read


def project(**resources: object) -> Project:
    return project_file.read(ROOT).model_copy(update={"resources": Resources.model_validate(resources)})


def compiled(*overrides: str, **resources: object) -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = placement.compile_(training_pipeline, target(*overrides), project(**resources), REFERENCES)
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_the_pipeline_is_the_committed_one_but_for_images_variables_and_what_a_training_begins_with():
    pipeline, _ = compiled("env={}")

    committed = compilation.with_references(compilation.symbolic("training"), REFERENCES)
    assert pipeline == compilation.started_as(committed, project()) != committed


def test_every_step_and_only_a_step_has_its_place():
    pipeline, placed = compiled()

    containers = {name for name, each in pipeline["deploymentSpec"]["executors"].items() if "container" in each}
    assert set(placed) == containers
    for name, each in placed.items():
        assert each["securityContext"] == {"runAsNonRoot": True}
        assert each["imagePullPolicy"] == "IfNotPresent"
        signs = [("perennial-signing", True)] if name == "exec-registration" else []
        assert [(secret["secretName"], secret["optional"]) for secret in each["secretAsEnv"]] == [
            ("perennial-s3", False),
            ("perennial-redis", True),
            *signs,
        ]
        assert each["podMetadata"]["labels"]["app.kubernetes.io/component"] == name.removeprefix("exec-").replace(
            "-", "_"
        )


def test_no_secret_stands_in_the_pipeline():
    text = placement.as_text(placement.compile_(training_pipeline, target(), project(), REFERENCES))

    assert "secretKey: AWS_SECRET_ACCESS_KEY" in text
    assert "minio123" not in text


def test_a_secret_for_a_step_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"secret 'x' is for the steps \['register'\].*no such step"):
        compiled("secrets=[{name: x, env: {A: a}, steps: [register]}]")


def test_resources_reach_the_steps_that_they_are_for():
    tuning = {
        "cpu": "2", "cpu_limit": "4", "memory": "1Gi", "memory_limit": "2Gi", "gpu": 1,
        "node_selector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "timeout_s": 3600,
    }  # fmt: skip
    pipeline, placed = compiled(default={"memory": "512Mi", "retries": 2, "retry_wait_s": 10}, steps={"tuning": tuning})

    executors = pipeline["deploymentSpec"]["executors"]
    asked = executors["exec-tuning"]["container"]["resources"]
    assert (asked["resourceCpuRequest"], asked["resourceCpuLimit"]) == ("2", "4")
    assert (asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == ("1Gi", "2Gi")
    assert asked["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert executors["exec-split"]["container"]["resources"] == {
        "memoryRequest": 0.536870912,
        "resourceMemoryRequest": "512Mi",
    }
    assert placed["exec-tuning"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert placed["exec-tuning"]["tolerations"] == [{"effect": "NoSchedule", "key": "gpu", "operator": "Exists"}]
    assert placed["exec-tuning"]["activeDeadlineSeconds"] == "3600"
    assert placed["exec-split"]["activeDeadlineSeconds"] == "86400"
    assert pipeline["root"]["dag"]["tasks"]["split"]["retryPolicy"] == {
        "backoffDuration": "10s", "backoffFactor": 2.0, "backoffMaxDuration": "600s", "maxRetryCount": 2,
    }  # fmt: skip


def released_as(own_s: int | None, **settings: object) -> tuple[str, str]:
    """Return the timeouts of the step that releases and of another one."""
    steps = {} if own_s is None else {"deployment": {"timeout_s": own_s}}
    update = {"release": ReleaseSettings.model_validate(settings)}
    _, platform = placement.compile_(
        training_pipeline, target(), project(steps=steps).model_copy(update=update), REFERENCES
    )
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return placed["exec-deployment"]["activeDeadlineSeconds"], placed["exec-split"]["activeDeadlineSeconds"]


def test_the_step_that_watches_a_canary_has_more_time_than_all_deadlines_of_its_steps():
    # Three steps of a day each, 300 s for the pods to start, 300 s for each of the four changes.
    assert released_as(None, strategy="canary") == (str(3 * 86_400 + 300 + 4 * 300), "86400")
    assert released_as(300_000, strategy="canary") == ("300000", "86400")
    assert released_as(None, strategy="canary", shares=(50,), deadline_s=3600)[0] == "86400"
    assert released_as(600, strategy="basic")[0] == "600"


def test_a_timeout_that_ends_a_release_in_the_middle_is_refused_when_the_pipeline_is_compiled():
    with pytest.raises(InputError, match=r"after its timeout_s 86400, but the release .* may take 260700 s: 3 steps"):
        released_as(86_400, strategy="canary")


def test_the_bundle_is_imported_once_per_content_so_that_an_equal_one_hits_the_cache():
    pipeline, _ = compiled()

    importer = pipeline["deploymentSpec"]["executors"]["exec-importer"]["importer"]
    assert not importer.get("reimport")
    assert importer["artifactUri"] == {"runtimeParameter": "uri"}


@pytest.mark.parametrize(
    ("sources", "root", "cached"),
    [
        ({"rows": {"path": "rows.csv"}}, None, True),
        ({"rows": {"path": "rows.csv"}}, "s3://lake/tables", False),
        ({"rows": {"database": "postgresql+psycopg://host/db", "query": "SELECT 1"}}, None, False),
    ],
)
def test_tables_that_nobody_can_hash_from_here_are_read_by_every_run(tmp_path, sources, root, cached):
    small = {
        "name": "small", "task": "binary", "entity": "id", "event_time": "at", "sources": sources,
        "label": {"source": "rows", "column": "y"},
        "features": {"service": "small_v1", "columns": {"x": {"type": "numeric"}}},
    }  # fmt: skip
    (tmp_path / "project.yaml").write_text(yaml.safe_dump(small))

    pipeline = submission.prepare(State(tmp_path, target().services), target(), RunRequest(source_root=root)).documents[
        0
    ]

    tasks = pipeline["root"]["dag"]["tasks"]
    assert bool(tasks["ingestion"]["cachingOptions"].get("enableCache")) is cached
    assert tasks["split"]["cachingOptions"]["enableCache"]


def step(pipeline: dict[str, Any], name: str) -> dict[str, Any]:
    return pipeline["deploymentSpec"]["executors"][f"exec-{name}"]


def broken(change) -> list[str]:
    pipeline, platform = placement.compile_(training_pipeline, target(), project(), REFERENCES)
    change(pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"])
    return list(lint.problems(pipeline, platform))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ir, at: step(ir, "split")["container"].update(image="a/split"), "names no content"),
        (lambda ir, at: step(ir, "importer")["importer"].update(reimport=True), "again in each run"),
        (lambda ir, at: at["exec-split"].pop("securityContext"), "exec-split may run as root"),
        (lambda ir, at: at["exec-split"].update(pvcMount=[{}]), "mounts a volume claim"),
        (lambda ir, at: at.update({"exec-other": {}}), "exec-other, which the pipeline does not have"),
        (lambda ir, at: ir["root"]["dag"]["tasks"]["split"].update(artifactIterator={}), "loops over artifacts"),
        (
            lambda ir, at: ir["root"]["dag"]["tasks"]["split"]["inputs"]["parameters"].update(
                x={"runtimeValue": {"constant": 'say "{{$.inputs.parameters[\'y\']}}"'}}
            ),
            "quotes or line breaks",
        ),
    ],
)  # fmt: skip
def test_each_trap_of_the_backend_is_found_before_anything_is_sent(change, sentence):
    (problem,) = broken(change)

    assert sentence in problem


def test_what_is_compiled_has_none_of_them():
    assert broken(lambda ir, at: None) == []


def test_a_target_of_the_project_wins_over_the_shipped_one(tmp_path: Path):
    (tmp_path / "targets").mkdir()
    text = (reading.SHIPPED / "kfp.yaml").read_text(encoding="utf-8")
    (tmp_path / "targets" / "kfp.yaml").write_text(text.replace("namespace: kubeflow", "namespace: team"), "utf-8")

    read = reading.read("kfp", tmp_path)

    assert isinstance(read, Kfp) and read.namespace == "team"


def tasks_of(pipeline: dict[str, Any], component: str) -> dict[str, Any]:
    dag = pipeline["root"]["dag"] if component == "root" else pipeline["components"][component]["dag"]
    tasks: dict[str, Any] = dag["tasks"]
    return tasks


POSTGRES = "services.studies=postgresql://studies.example.com/studies"


@pytest.mark.parametrize(("definition", "owner"), [(training_pipeline, "root"), (loop_pipeline, "comp-condition-1")])
def test_pods_of_tuning_are_copies_with_the_same_inputs_and_resources_beside_the_step(definition, owner):
    asked = project(steps={"tuning": {"pods": 4, "memory_limit": "2Gi"}})
    pipeline, platform = placement.compile_(definition, target(POSTGRES), asked, REFERENCES)
    tasks = tasks_of(pipeline, owner)
    [(name, loop)] = [(name, task) for name, task in tasks.items() if "parameterIterator" in task]
    [copy] = tasks_of(pipeline, f"comp-{name}").values()
    step, copied = (pipeline["deploymentSpec"]["executors"][f"exec-{each}"] for each in ("tuning", "tuning-2"))
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert loop["parameterIterator"]["items"] == {"raw": "[1, 2, 3]"}
    assert "parameterIterator" not in tasks["tuning"]
    assert {kind: set(inputs) for kind, inputs in copy["inputs"].items()} == {
        "artifacts": {"project", "splits"}, "parameters": {"seed", "study_storage"},
    }  # fmt: skip
    assert copied == step
    assert placed["exec-tuning-2"] == placed["exec-tuning"]


def test_pods_of_batch_scoring_write_a_shard_each_and_the_step_collects_them():
    asked = project(steps={"batch_scoring": {"pods": 3}})
    pipeline, _ = placement.compile_(batch_scoring_pipeline, target(), asked, REFERENCES)
    tasks = tasks_of(pipeline, "root")
    [(name, loop)] = [(name, task) for name, task in tasks.items() if "parameterIterator" in task]
    [shard] = tasks_of(pipeline, f"comp-{name}").values()
    parameters = shard["inputs"]["parameters"]

    assert loop["parameterIterator"]["items"] == {"raw": "[0, 1, 2]"}
    assert parameters["shard"] == {"componentInputParameter": loop["parameterIterator"]["itemInput"]}
    assert parameters["shards"]["runtimeValue"]["constant"] == 3
    assert "written" not in shard["inputs"]["artifacts"]
    assert tasks["batch-scoring"]["inputs"]["artifacts"]["written"]["taskOutputArtifact"]["producerTask"] == name
    assert not any(task["cachingOptions"].get("enableCache") for task in (shard, tasks["batch-scoring"]))


@pytest.mark.parametrize(
    ("resources", "overrides", "sentence"),
    [
        ({"steps": {"training": {"pods": 2}}}, (POSTGRES,), r"'training' 2 pods; expected 'pods' only for the steps"),
        ({"default": {"pods": 2}}, (POSTGRES,), r"'default' 2 pods; expected 'pods' only for the steps"),
        ({"steps": {"tuning": {"pods": 2}}}, ("services.studies=/studies",), "services.studies .* '/studies', which"),
    ],
)
def test_pods_that_could_not_share_the_work_are_refused(resources, overrides, sentence):
    with pytest.raises(InputError, match=sentence):
        compiled(*overrides, **resources)
