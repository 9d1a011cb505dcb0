"""The verbs of the vertex target from the command line, against the real SDK's requests."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from click.testing import CliRunner
from google.api_core.exceptions import InvalidArgument, PermissionDenied
from google.cloud import aiplatform_v1 as api

from components.shared import wording
from components.shared.errors import InputError
from pipelines import runs
from pipelines.command import cli
from pipelines.definitions import catalog
from pipelines.targets.model import Storage
from pipelines.targets.opening import open_backend
from pipelines.targets.remote.storage import Bucket
from pipelines.targets.vertex import following, jobs, schedules
from tests import documents
from tests.pipelines import toy
from tests.pipelines.vertex.conftest import Google, project_in
from tests.pipelines.vertex.double import PARENT, Ending, Refused, error_info, invalid

RUN = re.compile(r"submitted run (\S+),")
TRAINED = {name.replace("_", "-"): "SUCCEEDED" for name in catalog.entry("training").steps} | {
    "rejection": "NOT_TRIGGERED"
}


@pytest.fixture
def perennial(google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The command, in a small project."""
    monkeypatch.setattr(following.Follower.to_the_end, "__defaults__", (0.0,))
    root = project_in(tmp_path / "project", toy.PROJECT)

    def run(*arguments: str, code: int = 0, settings: tuple[str, ...] = ()) -> str:
        given = [part for setting in (*google.settings, *settings) for part in ("--set", setting)]
        done = CliRunner().invoke(cli.main, [*arguments, "--project", str(root), "--target", "vertex", *given])
        assert done.exit_code == code, done.output
        return done.output

    return run


def record(tmp_path: Path) -> dict[str, Any]:
    (path,) = (tmp_path / "project").glob(".perennial/runs/*/run.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


class TestSubmit:
    def test_the_request_says_all_that_the_target_and_the_project_say(self, perennial, google):
        key = f"{PARENT}/keyRings/ring/cryptoKeys/key"
        settings = (
            "service_account=steps@my-project.iam.gserviceaccount.com", f"encryption_key={key}",
            "network=projects/12/global/networks/inner", "labels={team: growth}", "env={MODE: fast}",
        )  # fmt: skip
        said = perennial("submit", "--no-wait", "--seed", "11", settings=settings)

        (request,) = google.double.requests
        job = request.pipeline_job
        assert request.parent == PARENT
        assert RUN.search(said)[1] == request.pipeline_job_id
        assert re.fullmatch(r"small-training-\d{8}-\d{6}-[0-9a-f]{4}", request.pipeline_job_id)
        assert job.service_account == "steps@my-project.iam.gserviceaccount.com"
        assert (job.network, job.encryption_spec.kms_key_name) == ("projects/12/global/networks/inner", key)
        assert dict(job.labels) == {
            "team": "growth", "perennial-experiment": "small", "perennial-pipeline": "training",
        }  # fmt: skip
        assert job.runtime_config.gcs_output_directory == "gs://bucket/perennial/runs"
        assert job.runtime_config.failure_policy.name == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
        values = job.runtime_config.parameter_values
        assert (values["seed"], values["registry_uri"]) == (11, "http://mlflow.example.internal:5000")
        assert values["project_uri"].startswith("gs://bucket/perennial/bundles/")
        assert values["source_root"].startswith("gs://bucket/perennial/tables/")
        container = job.pipeline_spec["deploymentSpec"]["executors"]["exec-training"]["container"]
        assert container["image"].startswith("europe-docker.pkg.dev/my-project/perennial/training:")
        assert dict(container["env"][0]) == {"name": "MODE", "value": "fast"}

    def test_machines_and_accelerators_come_from_the_resources_of_the_project(self, perennial, google, tmp_path):
        steps = "{training: {cpu_limit: '8', memory_limit: 32Gi, gpu: 2, gpu_type: NVIDIA_TESLA_T4, retries: 2}}"
        (tmp_path / "project" / "project.yaml").write_text(f"{toy.PROJECT}resources: {{steps: {steps}}}\n")
        said = perennial("submit", "--no-wait")

        spec = google.double.requests[0].pipeline_job.pipeline_spec
        asked = spec["deploymentSpec"]["executors"]["exec-training"]["container"]["resources"]
        assert asked["cpuLimit"] == 8
        assert asked["memoryLimit"] == pytest.approx(34.36, abs=0.01)
        assert (asked["accelerator"]["type"], asked["accelerator"]["count"]) == ("NVIDIA_TESLA_T4", "2")
        assert spec["root"]["dag"]["tasks"]["training"]["retryPolicy"]["maxRetryCount"] == 2
        assert "e2-highmem-8 with 2 NVIDIA_TESLA_T4 1.22" in " ".join(said.split())

    def test_steps_come_from_the_cache_unless_somebody_says_otherwise(self, perennial, google):
        perennial("submit", "--no-wait")
        perennial("submit", "--no-wait", "--no-cache")

        for request, cached in zip(google.double.requests[-2:], (True, False), strict=True):
            tasks = request.pipeline_job.pipeline_spec["root"]["dag"]["tasks"]
            assert bool(tasks["training"]["cachingOptions"].get("enableCache")) is cached
            assert not tasks["champion"]["cachingOptions"].get("enableCache")

    def test_parameters_have_the_form_of_the_schema_version(self, google, tmp_path):
        backend = open_backend("vertex", project_in(tmp_path / "project", toy.PROJECT), google.settings)
        declared = {"rows": {"type": "INT"}, "share": {"type": "DOUBLE"}, "columns": {"type": "STRING"}}
        old = {
            "pipelineInfo": {"name": "old"}, "schemaVersion": "2.0.0",
            "root": {"inputDefinitions": {"parameters": declared}, "dag": {"tasks": {}}},
        }  # fmt: skip
        values = {"rows": 5, "share": 0.5, "columns": ["a", "b"]}
        described = jobs.job(backend.server, old, values, catalog.entry("training"), "small")
        jobs.start(backend.server, described, "old", datetime(2026, 1, 1, tzinfo=UTC))

        (request,) = google.double.requests
        written = request.pipeline_job.runtime_config.parameters
        assert (written["rows"].int_value, written["share"].double_value) == (5, 0.5)
        assert written["columns"].string_value == '["a", "b"]'
        newer = {"rows": {"parameterType": "NUMBER_INTEGER"}}
        wrong = jobs.job(backend.server, {**old, "schemaVersion": "2.1.0"}, values, catalog.entry("training"), "small")
        wrong.pipeline_spec = {**old, "root": {"inputDefinitions": {"parameters": newer}, "dag": {"tasks": {}}}}
        with pytest.raises(InputError, match=r"parameter_values: is of schema 2\.1\.0; use parameters"):
            jobs.start(backend.server, wrong, "old", datetime(2026, 1, 1, tzinfo=UTC))

    def test_a_followed_run_ends_with_what_its_steps_wrote(self, perennial, google, tmp_path):
        google.double.ending = Ending(TRAINED | {"ingestion": "SKIPPED"})
        said = perennial("submit")

        ended = record(tmp_path)
        assert (ended["exit_code"], ended["state"]) == (0, "finished")
        states = {step["name"]: step["state"] for step in ended["steps"]}
        assert (states["ingestion"], states["training"], states["rejection"]) == ("cached", "done", "skipped")
        assert "finished" in said

    def test_a_run_whose_gate_rejects_ends_with_3(self, perennial, google):
        rejected = TRAINED | {"rejection": "SUCCEEDED", "registration": "NOT_TRIGGERED", "deployment": "NOT_TRIGGERED"}
        google.double.ending = Ending(rejected)

        assert "rejected by the gate" in perennial("submit", code=3)

    def test_the_second_run_is_estimated_from_the_first(self, perennial, google):
        google.double.ending = Ending(TRAINED)
        first = " ".join(perennial("submit").split())
        google.double.ending = None
        second = " ".join(perennial("submit", "--no-wait").split())

        assert "no estimate of the cost: no earlier run tells how long the steps take" in first
        # Each step took a minute of an e2-standard-4 at 0.154 an hour, the run itself 0.03.
        minutes = sum(state == "SUCCEEDED" for state in TRAINED.values())
        assert f"estimated cost {0.03 + minutes / 60 * 0.154:.2f} USD: {minutes} minutes of machines" in second
        assert "without rejection" in second


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "log", "code", "sentence"),
        [
            (
                "The replica workerpool0-0 exited with a non-zero status of 1. To find out more about why your job "
                "exited please check the logs: https://console.cloud.google.com/logs/viewer?project=1",
                [
                    "Traceback (most recent call last):",
                    "components.shared.errors.InputError: x is empty; fill it.",
                ],
                2,
                "training: x is empty; fill it.",
            ),
            (
                "The replica workerpool0-0 exited with a non-zero status of 137.",
                [],
                5,
                "training: it was killed (signal 9); the usual cause is that the machine ran out of memory.",
            ),
            (
                "The replica workerpool0-0 ran out-of-memory and exited with a non-zero status of 137.",
                [],
                5,
                "training: it ran out of memory; raise memory_limit under 'resources' in project.yaml.",
            ),
            (
                "com.google.cloud.ai.platform.common.errors.AiPlatformException: code=RESOURCE_EXHAUSTED, message=The "
                "following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus, "
                "cause=null; Failed to create custom job for the task.",
                [],
                5,
                "training: a quota of the project in europe-west4 is used up (The following quota metrics exceed",
            ),
            (
                "com.google.X: code=INVALID_ARGUMENT, message=Machine type n1-standard-9 is not supported., cause=null",
                [],
                5,
                "training: europe-west4 has no such machine for it (Machine type n1-standard-9 is not supported);",
            ),
            (
                "com.google.X: code=NOT_FOUND, message=Image eu-docker.pkg.dev/p/r/training:1 not found., cause=null",
                [],
                5,
                "training: its image can't be pulled (Image eu-docker.pkg.dev/p/r/training:1 not found);",
            ),
            ("Internal error.", [], 5, "training: Vertex AI ended it: Internal error."),
        ],
    )
    def test_a_failed_step_is_named_with_its_cause(self, perennial, google, error, log, code, sentence):
        failed = {"ingestion": "SUCCEEDED", "training": "FAILED"}
        google.double.ending = Ending(failed, error=error, state="FAILED")
        google.double.logs = {"1001": log}

        assert sentence in " ".join(perennial("submit", code=code).split())

    def test_logs_that_may_not_be_read_leave_a_link(self, perennial, google):
        google.double.ending = Ending(
            {"training": "FAILED"}, error="exited with a non-zero status of 1.", state="FAILED"
        )
        google.double.logs_allowed = False
        said = perennial("submit", code=5)

        assert "training: it ended with exit code 1; its log is empty, or you may not read it" in " ".join(said.split())
        assert "https://console.cloud.google.com/vertex-ai/pipelines/locations/europe-west4/runs/small-" in said

    @pytest.mark.parametrize(
        ("refused", "code", "sentence"),
        [
            (
                Refused(grpc.StatusCode.PERMISSION_DENIED, "It is off.", error_info("SERVICE_DISABLED")),
                2,
                "Vertex AI is disabled in project my-project; run 'gcloud services enable aiplatform.googleapis.com",
            ),
            (
                Refused(grpc.StatusCode.PERMISSION_DENIED, "Permission 'aiplatform.pipelineJobs.create' denied."),
                2,
                "you lack the permission (Permission 'aiplatform.pipelineJobs.create' denied); ask for the role",
            ),
            (
                Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded for pipelines."),
                5,
                "a quota of project my-project in europe-west4 is used up (Quota exceeded for pipelines);",
            ),
            (
                invalid("pipeline_job.encryption_spec", "the key is in another region"),
                2,
                "pipeline_job.encryption_spec: the key is in another region (InvalidArgument)",
            ),
            (
                Refused(grpc.StatusCode.FAILED_PRECONDITION, "Bucket is in US, the job in europe-west4."),
                2,
                "Vertex AI would not create a run: Bucket is in US, the job in europe-west4 (FailedPrecondition)",
            ),
            (
                Refused(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials."),
                2,
                "Google's credentials are missing, invalid or expired (Request had invalid",
            ),
            (
                Refused(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable."),
                5,
                "(The service is currently unavailable); check 'region' in the target file, and the network.",
            ),
        ],
    )
    def test_what_vertex_ai_refuses_is_one_sentence_and_nothing_is_recorded(
        self, perennial, google, tmp_path, refused, code, sentence
    ):
        google.double.refuse = lambda method: refused if method == "CreatePipelineJob" else None

        said = " ".join(perennial("submit", "--no-wait", code=code).split())
        assert sentence in said
        assert "Traceback" not in said
        assert not list((tmp_path / "project").glob(".perennial/runs/*"))

    def test_another_project_does_not_exist(self, perennial):
        said = perennial("submit", "--no-wait", code=2, settings=("project=other-project",))

        assert "the project 'other-project' does not exist, or you have no access" in " ".join(said.split())

    def test_a_target_without_a_project_says_where_to_write_it(self, perennial):
        assert "the target names no project" in perennial("runs", code=2, settings=('project=""',))

    def test_a_login_that_has_expired_says_what_to_run_and_not_that_nobody_answers(
        self, perennial, google, monkeypatch, tmp_path
    ):
        """As the federation of a CI's identity, whose tokens come from a server; gRPC says UNAVAILABLE then."""
        settings = {key: value for key, _, value in (setting.partition("=") for setting in google.settings)}
        (tmp_path / "subject").write_text("a token of the CI")
        federated = {
            "type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "jwt",
            "token_url": f"{settings['logging_url']}/token", "credential_source": {"file": str(tmp_path / "subject")},
        }  # fmt: skip
        (tmp_path / "federated.json").write_text(json.dumps(federated))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "federated.json"))
        google.double.token_refusal = "Token has been expired or revoked."
        said = " ".join(perennial("runs", code=2).split())

        assert "Google's credentials are missing, invalid or expired (" in said
        assert "Token has been expired or revoked" in said and "'gcloud auth application-default login'" in said
        assert google.double.requests == []

    def test_missing_credentials_say_what_to_run(self, perennial, monkeypatch, tmp_path):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

        assert "'gcloud auth application-default login'" in " ".join(perennial("runs", code=2).split())

    @pytest.mark.parametrize(
        ("setting", "sentence"),
        [
            ("storage.uri=s3://bucket/x", "Vertex AI reads gs://bucket/prefix only"),
            (
                "services.registry=sqlite:///mlflow.db",
                "which no step reaches; expected the address of an MLflow server",
            ),
            ('images.registry=""', "which is in no registry; expected one such as europe-docker.pkg.dev"),
            ("prices=none.yaml", "the price file"),
            ("region=mars", "region"),
            ("experiment=Größe", "becomes a label at Vertex AI"),
            ("storage.uri=gs://elsewhere/x", "cannot access gs://elsewhere/x"),
        ],
    )
    def test_a_target_that_cannot_work_is_refused_before_a_run_exists(self, perennial, google, setting, sentence):
        said = " ".join(perennial("submit", "--no-wait", code=2, settings=(setting,)).split())

        assert sentence in said
        assert not google.double.jobs


class TestCompare:
    def test_a_run_there_is_compared_with_one_on_this_machine(self, perennial, google, tmp_path):
        report, model = (f"gs://bucket/perennial/runs/1/{name}" for name in ("evaluation/report", "training/model"))
        google.double.ending = Ending(
            TRAINED, artifacts={"evaluation": {"report": report}, "training": {"model": model}}
        )
        there = RUN.search(perennial("submit", "--no-wait"))[1]
        here = tmp_path / "project" / ".perennial" / "runs" / "20260101T000000_000000"
        measured = documents.evaluation()
        better = {name: metric.model_copy(update={"value": 0.9}) for name, metric in measured.metrics.items()}
        measured.model_copy(update={"metrics": better}).write(here / "report")
        facts = documents.model_facts()
        usage = facts.features[0].model_copy(update={"name": "usage_of_yesterday"})
        facts.model_copy(update={"features": (usage, *facts.features[1:]), "seed": 8}).write(here / "model")
        artifacts = {"evaluation.report": str(here / "report"), "training.model": str(here / "model")}
        runs.Run(here.name, "small", "training", here, "2026-01-01", [], runs.OK, artifacts=artifacts).save()

        # Nothing of the run there is on this machine, and its bucket does not have it yet.
        arguments = ("compare", there, here.name, "--second-target", "laptop")
        assert "before it had evaluated a model" in perennial(*arguments, code=2)
        measured.write(tmp_path / "evaluation")
        settings = {key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in google.settings)}
        storage = Storage(uri=settings["storage.uri"], endpoint_url=settings["storage.endpoint_url"])
        Bucket(storage).put(tmp_path / "evaluation" / "evaluation.json", report)
        documents.model_facts().write(tmp_path / "facts")
        Bucket(storage).put(tmp_path / "facts" / "model.json", model)
        compared = perennial(*arguments)

        auc = measured.metrics["auc"]
        [line] = [line for line in compared.splitlines() if line.split()[:1] == ["auc"]]
        shown = [wording.interval(metric) for metric in (auc, better["auc"])]
        assert line.split() == ["auc", *" ".join(shown).split(), f"{0.9 - auc.value:+.4f}"]
        rows = {line.split()[0]: " ".join(line.split()[1:]) for line in compared.splitlines() if line.split()}
        assert rows["features"] == "2; only here: usage 2; only here: usage_of_yesterday"
        assert rows["seed"] == "7 8"


class TestRuns:
    def test_runs_are_listed_shown_and_ended_by_the_beginning_of_their_id(self, perennial, google):
        run_id = RUN.search(perennial("submit", "--no-wait"))[1]

        assert run_id in perennial("runs").replace("\n", "")
        assert "training           pending" in perennial("logs", run_id[:-2])
        assert f"ended run {run_id}" in perennial("runs", "--end", run_id[:-2])
        assert "interrupted" in perennial("runs")
        assert "it was ended at the server" in " ".join(perennial("logs", run_id).split())

    def test_the_log_of_a_step_is_fetched_with_all_its_pages(self, perennial, google):
        google.double.ending = Ending(TRAINED)
        run_id = RUN.search(perennial("submit"))[1]
        number = 1000 + list(TRAINED).index("training")
        google.double.logs = {str(number): ["epoch 1", "epoch 2", "epoch 3"]}

        assert perennial("logs", run_id, "training") == "epoch 1\nepoch 2\nepoch 3\n"

    def test_a_run_of_somebody_else_is_shown_without_a_record(self, perennial, google, tmp_path):
        run_id = RUN.search(perennial("submit", "--no-wait"))[1]
        for path in (tmp_path / "project").glob(".perennial/runs/*/run.json"):
            path.unlink()
        google.double.ending = Ending(TRAINED | {"rejection": "SUCCEEDED", "deployment": "NOT_TRIGGERED"})
        perennial("logs", run_id)
        assert "rejection          done" in perennial("logs", run_id)
        assert "rejected" in perennial("runs")

    def test_runs_of_another_server_in_the_same_project_are_left_alone(self, perennial, google, tmp_path):
        perennial("submit", "--no-wait")
        (ours,) = (tmp_path / "project").glob(".perennial/runs/*/run.json")
        theirs = ours.parent.parent / "20260101T000000_000000" / "run.json"
        theirs.parent.mkdir()
        content = json.loads(ours.read_text()) | {"server": None, "remote": "0b5a1c2d-0000-4000-8000-000000000000"}
        theirs.write_text(json.dumps(content))

        assert "small-training" in perennial("runs")
        assert json.loads(theirs.read_text()) == content

    def test_a_run_that_does_not_exist_is_one_sentence(self, perennial):
        assert "The PipelineJob does not exist" in " ".join(perennial("logs", "nothing", code=2).split())


class TestSchedules:
    def test_a_schedule_is_made_listed_paused_resumed_and_deleted(self, perennial, google):
        assert "scheduled small-training: 30 6 * * *" in perennial("schedule", "create", "--cron", "30 6 * * *")
        (schedule,) = google.double.schedules.values()
        assert schedule.cron == "TZ=UTC 30 6 * * *"
        assert (schedule.max_concurrent_run_count, schedule.allow_queueing) == (1, False)
        assert schedule.create_pipeline_job_request.pipeline_job.labels["perennial-pipeline"] == "training"

        assert "on" in perennial("schedule", "list")
        perennial("schedule", "pause", "small-training")
        assert "paused" in perennial("schedule", "list")
        perennial("schedule", "resume", "small-training")
        assert schedule.state.name == "ACTIVE"
        perennial("schedule", "delete", "small-training")
        assert google.double.schedules == {}

    def test_a_second_schedule_of_the_same_name_would_overlap_and_is_refused(self, perennial):
        perennial("schedule", "create", "--cron", "0 30 6 * * *")

        assert "the schedule 'small-training' already exists" in perennial(
            "schedule", "create", "--cron", "0 7 * * *", code=2
        )

    @pytest.mark.parametrize("cron", ["30 6 * *", "5 30 6 * * *"])
    def test_a_cron_expression_is_checked_before_anything_is_uploaded(self, perennial, google, cron):
        assert "expected five (minute, hour" in " ".join(
            perennial("schedule", "create", "--cron", cron, code=2).split()
        )
        assert not google.double.requests

    def test_a_cron_expression_that_only_the_server_understands_is_refused_by_it(self, perennial):
        said = perennial("schedule", "create", "--cron", "x 6 * * *", code=2)

        assert "schedule.cron: TZ=UTC x 6 * * * is not a cron expression" in " ".join(said.split())

    def test_an_operation_that_never_ends_is_given_up(self, perennial, google, monkeypatch):
        monkeypatch.setattr(schedules.delete, "__defaults__", (0.1,))
        perennial("schedule", "create", "--cron", "30 6 * * *")
        google.double.stuck_operations = True

        said = perennial("schedule", "delete", "small-training", code=5)
        assert "Vertex AI did not delete the schedule 'small-training' within 0.1 s" in " ".join(said.split())


def test_upload_keeps_a_version_in_the_bucket_once(perennial):
    assert "uploaded small-training version 0123456789ab (" in perennial("upload")
    assert "there already: small-training version 0123456789ab (" in perennial("upload")
    other = perennial("upload", settings=("env={MODE: fast}",))
    assert re.search(r"uploaded small-training version 0123456789ab-[0-9a-f]{8} \(", other)


class TestDouble:
    """The double is as strict as the tests above take it to be."""

    @pytest.fixture
    def submitted(self, perennial, google, tmp_path):
        """The client, and a request that was accepted."""
        perennial("submit", "--no-wait")
        (request,) = google.double.requests
        backend = open_backend("vertex", tmp_path / "project", google.settings)
        return backend.server.pipelines, request

    @pytest.mark.parametrize(
        "parent", ["", PARENT.replace("europe-west4", "us-central1"), "projects/other/locations/x"]
    )
    def test_a_missing_or_another_parent_is_refused(self, submitted, parent):
        client, request = submitted

        with pytest.raises(PermissionDenied):
            client.create_pipeline_job(parent=parent, pipeline_job=request.pipeline_job, pipeline_job_id="again")

    def test_an_unknown_field_is_refused_wherever_it_is(self, submitted):
        client, request = submitted
        job = api.PipelineJob(request.pipeline_job)
        # Field 1000, a number.
        api.PipelineJob.pb(job).runtime_config.MergeFromString(b"\xc0\x3e\x01")

        with pytest.raises(InvalidArgument, match="errors") as refused:
            client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id="again")
        assert "RuntimeConfig.1000" in str(refused.value.details)

    def test_a_parameter_that_the_pipeline_does_not_have_or_of_another_type_is_refused(self, submitted):
        client, request = submitted
        for name, value in (("sead", 7), ("seed", "seven")):
            job = api.PipelineJob(request.pipeline_job)
            job.runtime_config.parameter_values[name] = value
            with pytest.raises(InvalidArgument) as refused:
                client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id="again")
            assert name in str(refused.value.details)


class TestLint:
    """What Vertex AI would reject is refused when the pipeline is compiled, with the step's name."""

    @pytest.mark.parametrize(
        ("resources", "sentence"),
        [
            ("{cpu_limit: '97'}", "the step training asks for 97 CPUs, the most is 96"),
            ("{memory_limit: 700Gi}", "GB of memory, the most is 624"),
            ("{gpu: 1}", "the step training asks for the accelerator 'nvidia.com/gpu'; expected a name of Vertex AI"),
            ("{gpu: 3, gpu_type: NVIDIA_TESLA_T4}", "asks for 3 accelerators, expected one of [1, 2, 4, 8, 16]"),
            ("{node_selector: {disk: ssd}}", "resources of the step training choose nodes"),
            ("{pods: 2}", "'resources' give 'training' 2 pods; expected 'pods' only for the steps"),
        ],
    )
    def test_resources(self, perennial, tmp_path, resources, sentence):
        (tmp_path / "project" / "project.yaml").write_text(
            f"{toy.PROJECT}resources: {{steps: {{training: {resources}}}}}\n"
        )

        assert sentence in " ".join(perennial("upload", code=2).split())

    def test_compiling_for_vertex_imports_nothing_of_googles_sdk(self, tmp_path):
        project_in(tmp_path / "project", toy.PROJECT)
        code = (
            "import sys; from click.testing import CliRunner; from pipelines.command import cli; "
            "done = CliRunner().invoke(cli.main, sys.argv[1:]); assert done.exit_code == 0, done.output; "
            "print([name for name in sys.modules if name.startswith(('google.cloud.aiplatform', 'vertexai'))])"
        )
        arguments = ["compile", "--target", "vertex", "--pipeline", "training", "--out", str(tmp_path / "out")]
        given = [*arguments, "--project", str(tmp_path / "project"), "--set", "project=my-project"]
        registry = ["--set", "images.registry=europe-docker.pkg.dev/my-project"]
        done = subprocess.run([sys.executable, "-c", code, *given, *registry], capture_output=True, text=True)

        assert (done.stdout.strip(), (tmp_path / "out" / "training.yaml").is_file()) == ("[]", True), done.stderr

    def test_the_shipped_pipelines_pass_as_one_document(self, google, tmp_path):
        backend = open_backend("vertex", project_in(tmp_path / "project", toy.PROJECT), google.settings)
        for entry in catalog.PIPELINES.values():
            (document,) = yaml.safe_load_all(backend.compile(entry))
            assert document["schemaVersion"] == "2.1.0"
