"""A promoted candidate becomes exactly one version, whole or not at all, and the same candidate never a second."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.registration import logic
from components.shared import files, registry
from components.shared.errors import GateRejected, InputError, StepFailed
from components.shared.package import integrity, signing
from tests import documents
from tests.components import made_candidate
from tests.components.made_candidate import CODE, empty_registry

ROOT = Path(__file__).parents[3]


def _register(evidence, uri, out, code=CODE):
    version = logic.register(evidence, uri, code, out / "release", out / "card.md", out / "card.html")
    return version, files.read_json(out / "release" / "release.json")


def test_a_version_is_the_challenger_and_its_package_is_the_registrys_own_copy(tmp_path):
    uri, evidence = empty_registry(tmp_path / "a b#"), made_candidate.evidence(tmp_path / "candidate")

    version, release = _register(evidence, uri, tmp_path / "out")

    client = registry.open(uri)
    stored = files.from_uri(release["storage_uri"])
    assert registry.version_by_alias(client, "made", "challenger").version == int(version)
    assert registry.champion(client, "made") is None
    assert release["unchanged"] is False
    assert stored.is_relative_to(tmp_path / "a b#" / "mlartifacts")
    assert files.sha256(stored) == files.sha256(evidence.model)
    assert release["manifest_sha256"] == files.sha256(stored / "manifest.json")


def test_the_run_holds_what_the_version_came_from(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")

    _, release = _register(evidence, uri, tmp_path / "out")

    run = registry.open(uri).get_run(release["run_id"])
    metrics, tags, artifacts = run.data.metrics, run.data.tags, files.from_uri(run.info.artifact_uri)
    assert (metrics["test.auc"], metrics["test.auc.low"], metrics["test.auc.high"]) == (0.8123, 0.7654, 0.8591)
    assert (metrics["plain.auc"], metrics["value.total"], metrics["robustness.noise.0.1.drop"]) == (0.79, 3200, 0.012)
    assert run.data.params["learning_rate"] == "0.02"
    assert run.data.params["seed"] == "7"
    assert tags["perennial.snapshot_hash"] == "5" * 64
    assert (tags["perennial.code_commit"], tags["lock.training"]) == ("4b9d291", "e" * 64)
    assert (artifacts / "project" / "feature_repo" / "schema" / "rows.pbtxt").read_text().startswith("feature")
    assert (artifacts / "statistics" / "rows.pb").exists()
    assert files.read_json(artifacts / "evaluation" / "evaluation.json")["primary"] == "auc"
    assert run.info.status == "FINISHED"


def test_a_signed_projects_version_carries_the_signature_of_its_key(tmp_path, monkeypatch):
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    form, secret = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.NoEncryption()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    evidence = made_candidate.evidence(tmp_path / "c", named=made_candidate.project(release={"signed_by": (public,)}))
    uri = empty_registry(tmp_path / "state")
    client = registry.open(uri)

    def give(given: ec.EllipticCurvePrivateKey) -> None:
        pkcs8 = given.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
        monkeypatch.setenv("PERENNIAL_SIGNING_KEY", pkcs8.decode())

    monkeypatch.delenv("PERENNIAL_SIGNING_KEY", raising=False)
    with pytest.raises(InputError, match="PERENNIAL_SIGNING_KEY is not set"):
        _register(evidence, uri, tmp_path / "out")
    give(other)
    with pytest.raises(InputError, match="belongs to none of the 1 public keys"):
        _register(evidence, uri, tmp_path / "out")
    assert registry.versions(client, "made") == [] == registry.runs(client, "made", "")

    give(key)
    version, release = _register(evidence, uri, tmp_path / "out")
    package = files.from_uri(release["storage_uri"])
    assert signing.verify(package, [key.public_key()]) == signing.identifier(key.public_key())
    registered = registry.version(client, "made", version)
    assert registered.tags["perennial.signed_by"] == signing.identifier(key.public_key())
    integrity.verify(package, release["manifest_sha256"])


class _Refusing(BaseHTTPRequestHandler):
    """A bucket that lets nobody in."""

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_bucket_that_refuses_is_one_sentence_and_there_is_no_version(tmp_path, monkeypatch):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    client = registry.open(uri)
    client.create_experiment("made", artifact_location="s3://bucket/made")

    with pytest.raises(StepFailed, match=r"s3://bucket/made/.* does not take them \(.*Access Denied\);"):
        _register(evidence, uri, tmp_path / "out")

    server.shutdown()
    assert registry.versions(client, "made") == []


def test_the_same_candidate_gets_the_same_version_and_is_unchanged_once_it_is_champion(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")

    first, release = _register(evidence, uri, tmp_path / "1")
    again, waiting = _register(evidence, uri, tmp_path / "2")
    client = registry.open(uri)
    registry.move_alias(client, "made", "champion", first)
    third, answering = _register(evidence, uri, tmp_path / "3", CODE | {"commit": "another", "dirty": "true"})

    assert first == again == third
    assert [r["unchanged"] for r in (release, waiting, answering)] == [False, False, True]
    assert len(registry.versions(client, "made")) == 1
    assert len(registry.runs(client, "made", "")) == 1
    assert (tmp_path / "1" / "card.md").read_text() == (tmp_path / "3" / "card.md").read_text()


def test_an_equal_candidate_that_was_trained_again_releases_the_package_that_is_registered(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")
    first, _ = _register(evidence, uri, tmp_path / "1")
    # Another training of the same weights took another time.
    documents.training_history(duration_s=2.0).write(evidence.model)
    documents.seal(evidence.model)

    again, release = _register(evidence, uri, tmp_path / "2")

    registered = files.from_uri(release["storage_uri"]) / "manifest.json"
    assert again == first
    assert release["manifest_sha256"] == files.sha256(registered) != files.sha256(evidence.model / "manifest.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"weights_hash": "0" * 64},
        {"snapshot_hash": "1" * 64},
        {"named": made_candidate.project(gate={"plain_margin": 0.02})},
        {"named": made_candidate.project(monitoring={"redact": ("usage",)})},
        {"code": CODE | {"lock:training": "0" * 64}},
    ],
    ids=["weights", "data", "project", "what the server logs", "lock"],
)
def test_whatever_makes_a_candidate_another_one_makes_another_version(tmp_path, changed):
    uri, code = empty_registry(tmp_path / "state"), changed.pop("code", CODE)

    first, _ = _register(made_candidate.evidence(tmp_path / "one"), uri, tmp_path / "1")
    second, release = _register(made_candidate.evidence(tmp_path / "two", **changed), uri, tmp_path / "2", code)

    assert (first, second) == ("1", "2")
    assert release["unchanged"] is False


@pytest.mark.parametrize(
    "sections",
    [
        {"retraining": {"every_days": 30.0, "cost": 250.0}},
        {"monitoring": {"owner": "the churn team", "window_days": 14.0}},
        {"resources": {"steps": {"training": {"cpu": "2", "memory": "4G"}}}},
        {"monitoring": {"log": True}, "gate": {"plain_margin": 0.01}},
    ],
    ids=["retraining", "monitoring", "resources", "defaults"],
)
def test_a_setting_that_reaches_neither_model_nor_server_makes_no_version(tmp_path, sections):
    uri, named = empty_registry(tmp_path / "state"), made_candidate.project(**sections)

    first, _ = _register(made_candidate.evidence(tmp_path / "one"), uri, tmp_path / "1")
    second, _ = _register(made_candidate.evidence(tmp_path / "two", named=named), uri, tmp_path / "2")

    assert first == second


def test_a_candidate_that_the_gate_refused_gets_no_version(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate", promote=False)

    with pytest.raises(GateRejected, match="does not promote"):
        _register(evidence, uri, tmp_path / "out")

    assert registry.versions(registry.open(uri), "made") == []
    assert not (tmp_path / "out").exists()


# The calls after which a kill leaves something behind, in the order in which they are made.
_BOUNDARIES = ["create_run", "log_artifacts", "create_model_version", "log_text", "set_terminated"]


def _register_and_die(boundary, evidence, uri, out):
    from mlflow import MlflowClient

    real = getattr(MlflowClient, boundary)

    def killed_after(self, *args, **named):
        real(self, *args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, boundary, killed_after)
    _register(evidence, uri, out)


@pytest.mark.parametrize("boundary", _BOUNDARIES)
def test_a_kill_leaves_no_version_and_the_next_registration_works(tmp_path, boundary):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")
    process = multiprocessing.get_context("fork").Process(
        target=_register_and_die, args=(boundary, evidence, uri, tmp_path / "killed")
    )
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL

    client = registry.open(uri)
    assert registry.versions(client, "made") == []
    assert registry.version_by_alias(client, "made", "challenger") is None

    version, release = _register(evidence, uri, tmp_path / "out")

    assert [str(v.version) for v in registry.versions(client, "made")] == [version]
    assert registry.versions(client, "made", complete=False) == []
    assert registry.runs(client, "made", "attributes.status = 'RUNNING'") == []
    assert files.sha256(files.from_uri(release["storage_uri"])) == files.sha256(evidence.model)


@pytest.mark.parametrize("boundary", ["set_model_version_tag", "set_registered_model_alias"])
def test_a_kill_after_the_last_tag_leaves_the_version_and_the_next_registration_goes_on_with_it(tmp_path, boundary):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")
    arguments = (boundary, evidence, uri, tmp_path / "killed")
    process = multiprocessing.get_context("fork").Process(target=_register_and_die, args=arguments)
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL

    version, release = _register(evidence, uri, tmp_path / "out")

    client = registry.open(uri)
    assert version == "1"
    assert release["unchanged"] is False
    assert [str(v.version) for v in registry.versions(client, "made")] == ["1"]
    assert str(registry.version_by_alias(client, "made", "challenger").version) == "1"


def test_behind_a_server_a_fresh_half_version_may_be_somebodys_and_stays(tmp_path):
    uri = empty_registry(tmp_path / "state")
    client = registry.open(uri)
    run = client.create_run(registry.experiment(client, uri, "made"), tags={"perennial.outcome": "promoted"})
    client.create_registered_model("made")
    tags = {registry.FINGERPRINT: "0" * 64}
    client.create_model_version("made", f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)

    logic._remove_incomplete(client, "made", older_than_s=3600)
    stays = registry.versions(client, "made", complete=False), client.get_run(run.info.run_id).info.status
    logic._remove_incomplete(client, "made", older_than_s=0)
    gone = registry.versions(client, "made", complete=False), client.get_run(run.info.run_id).info.status

    assert (len(stays[0]), stays[1]) == (1, "RUNNING")
    assert gone == ([], "KILLED")


def test_a_version_that_another_program_registered_under_the_name_stays(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")
    client = registry.open(uri)
    client.create_registered_model("made")
    client.create_model_version("made", "file:///models/theirs")

    version, _ = _register(evidence, uri, tmp_path / "out")

    assert version == "2"
    assert [str(v.version) for v in registry.versions(client, "made", complete=False)] == ["1"]


def test_two_processes_that_register_at_once_on_a_fresh_laptop_make_one_version(tmp_path):
    evidence, uri = made_candidate.evidence(tmp_path / "candidate"), f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}"
    program = """
import json, sys
from pathlib import Path
from components.registration import logic
from components.shared.registry import Evidence
out = Path(sys.argv[3])
evidence = Evidence(*map(Path, json.loads(sys.argv[1])))
logic.register(evidence, sys.argv[2], {"commit": "x"}, out / "release", out / "card.md", out / "card.html")
"""
    paths = json.dumps([str(path) for path in evidence.paths.values()])
    home = {"HOME": "/proc/none", "XDG_CONFIG_HOME": "/proc/none"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")} | home
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, paths, uri, str(tmp_path / name)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert said == [("", ""), ("", "")]
    assert [v.version for v in registry.versions(registry.open(uri), "made")] == [1]


def test_a_schema_that_was_killed_while_it_was_made_is_made_again(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "mlflow.db").write_bytes(b"half a schema")
    (state / "mlflow.db.creating").touch()

    client = registry.open(f"sqlite:///{state / 'mlflow.db'}")

    assert registry.champion(client, "made") is None
    assert not (state / "mlflow.db.creating").exists()


def test_a_broken_registry_is_one_sentence_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "mlflow.db").write_bytes(b"this is no database, and long enough to be read as one")

    with pytest.raises(
        StepFailed, match=r"cannot open the model registry .*not a database.* restore the file"
    ) as broken:
        registry.open(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(StepFailed, match="cannot open the model registry") as unreachable:
        registry.open("http://user:hidden@127.0.0.1:1/")

    assert "\n" not in str(broken.value)
    assert "hidden" not in str(unreachable.value)
