"""What a run on a cluster left is found where its steps put it, cached ones too, and comes here without its tables."""

import json
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from components.shared.errors import InputError, StepFailed
from pipelines import api, runs
from pipelines.targets.kfp import artifacts
from pipelines.targets.kfp import workflow as manifest
from pipelines.targets.model import Storage
from pipelines.targets.remote.artifacts import bring
from pipelines.targets.remote.storage import Bucket
from tests import documents

ROOT = "minio://mlpipeline/v2/artifacts/churn-training"


def node(task: str, parent: str, phase: str = "Succeeded", **said: Any) -> list[dict[str, Any]]:
    """Write down a step's driver, and its executor where it has one, as Argo's workflow does."""
    inputs = {name: {"artifacts": [{"name": "1", "uri": uri}]} for name, (uri, _) in said.get("reads", {}).items()}
    outputs = {name: {"artifacts": [{"name": name, "uri": uri}]} for name, uri in said.get("writes", {}).items()}
    told = json.dumps({"inputs": {"artifacts": inputs}, "outputs": {"artifacts": outputs}})
    patch = {"containers": [{"command": ["/kfp-launcher/launch", "--executor_input", told, "--"]}]}
    sources = {name: source for name, (_, source) in said.get("reads", {}).items()}
    name = f"{parent}.{task}"
    parameters = [
        {"name": "task-name", "value": task},
        {"name": "task", "value": json.dumps({"inputs": {"artifacts": sources}})},
    ]
    runs_ = "writes" in said
    found = [{"name": "pod-spec-patch", "value": json.dumps(patch) if runs_ else ""}]
    common = {"phase": "Succeeded", "type": "Pod", "startedAt": "2026-01-02T03:04:05Z"}
    driver = {"name": f"{name}-driver", "id": f"w-{len(name)}", "templateName": "system-container-driver", **common}
    nodes = [driver | {"inputs": {"parameters": parameters}, "outputs": {"parameters": found}}]
    if runs_:
        nodes.append({**common, "name": f"{name}.executor", "id": "w-1", "templateName": "impl", "phase": phase})
    return [*nodes, {**common, "name": name, "type": "DAG", "phase": phase if runs_ else "Succeeded", "id": "w-2"}]


@pytest.fixture
def workflow() -> manifest.Workflow:
    nodes = [
        *node("data-validation", "w.root"),
        *node("training", "w.root", writes={"model": f"{ROOT}/run-2/training/7/model"}),
        *node(
            "evaluation",
            "w.root",
            reads={
                "model": (
                    f"{ROOT}/run-2/training/7/model",
                    {"taskOutputArtifact": {"producerTask": "training", "outputArtifactKey": "model"}},
                ),
                "statistics": (
                    f"{ROOT}/run-1/data-validation/3/statistics",
                    {"taskOutputArtifact": {"producerTask": "data-validation", "outputArtifactKey": "statistics"}},
                ),
            },
            writes={"report": f"{ROOT}/run-2/evaluation/8/report"},
        ),
        *node(
            "rejection",
            "w.root.condition-3",
            reads={
                "verdict": (
                    f"{ROOT}/run-1/gate/5/verdict",
                    {"componentInputArtifact": "pipelinechannel--gate-verdict"},
                )
            },
            writes={"advice": f"{ROOT}/run-2/rejection/9/advice"},
            phase="Failed",
        ),
    ]
    answer = {"metadata": {"name": "w"}, "status": {"nodes": {str(i): one for i, one in enumerate(nodes)}}}
    return manifest.read(json.dumps({"pipeline_runtime": {"workflow_manifest": json.dumps(answer)}}).encode())


@pytest.fixture
def bucket(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="mlpipeline")

    def put(uri: str, content: str) -> None:
        client.put_object(Bucket="mlpipeline", Key=uri.removeprefix("minio://mlpipeline/"), Body=content.encode())

    place = Bucket(Storage(uri="minio://mlpipeline/perennial", endpoint_url=f"http://{host}:{port}"))
    yield place, put
    server.stop()


def test_artifacts_are_named_as_on_this_machine_from_the_cache_or_not(workflow):
    assert artifacts.located(workflow) == {
        "training.model": f"{ROOT}/run-2/training/7/model",
        "data_validation.statistics": f"{ROOT}/run-1/data-validation/3/statistics",
        "evaluation.report": f"{ROOT}/run-2/evaluation/8/report",
        "gate.verdict": f"{ROOT}/run-1/gate/5/verdict",
    }


def test_metrics_verdict_and_model_come_here_and_tables_stay(workflow, bucket, tmp_path):
    place, put = bucket
    uris = artifacts.located(workflow) | {"ingestion.snapshot": f"{ROOT}/run-1/ingestion/1/snapshot"}
    measured = documents.evaluation()
    put(uris["evaluation.report"] + "/evaluation.json", measured.model_dump_json())
    put(uris["evaluation.report"] + "/rows.parquet", "many")
    put(uris["gate.verdict"], documents.verdict().model_dump_json())
    put(uris["training.model"] + "/model.onnx", "onnx")
    put(uris["training.model"] + "/inner/file", "x")
    put(uris["ingestion.snapshot"] + "/snapshot.json", "{}")
    put(uris["ingestion.snapshot"] + "/rows.parquet", "many")
    brought = bring(uris, place, tmp_path / "artifacts")
    record = runs.Run("r", "churn", "training", tmp_path, "now", [], runs.OK, artifacts=brought)
    run = api.Finished(record, tmp_path / "report.html")

    assert run.metrics == measured.metrics
    assert run.rules == {rule.reason: rule.passed for rule in documents.verdict().rules}
    assert (run.model / "model.onnx").read_text() == "onnx" and (run.model / "inner" / "file").exists()
    assert "ingestion.snapshot" in brought and not list(tmp_path.rglob("*.parquet"))
    assert "data_validation.statistics" not in brought


def test_a_run_that_left_nothing_says_why_where_its_metrics_are_asked_for(tmp_path):
    step = runs.Step("training", "failed", error="it was killed.")
    record = runs.Run("r7", "churn", "training", tmp_path, "now", [step], runs.FAILED, "it was killed.")

    with pytest.raises(api.StepFailed, match=r"run r7 ended before it had evaluated \(training: it was killed"):
        api.Finished(record, tmp_path).metrics  # noqa: B018 - asking is the point
    with pytest.raises(api.StepFailed, match="before it had trained a model"):
        api.Finished(record, tmp_path).model  # noqa: B018


def test_what_is_not_there_is_not_brought(bucket, tmp_path):
    assert not bucket[0].get(f"{ROOT}/nothing", tmp_path / "x") and not (tmp_path / "x").exists()


def test_an_object_can_not_be_named_out_of_the_folder(bucket, tmp_path):
    place, put = bucket
    put(f"{ROOT}/model/../../stolen", "x")

    with pytest.raises(InputError, match="leads elsewhere"):
        place.get(f"{ROOT}/model", tmp_path / "a" / "model")
    assert not list(tmp_path.rglob("stolen"))


def test_a_bucket_that_refuses_is_a_sentence(bucket, tmp_path):
    nobody = Bucket(Storage(uri="minio://mlpipeline/perennial", endpoint_url="http://127.0.0.1:9"))

    with pytest.raises(StepFailed, match=r"cannot access minio://mlpipeline/.*check the address"):
        nobody.get(f"{ROOT}/model", tmp_path / "x")
