"""The release manifest is what KServe 0.21 takes: a named predictor, a runtime of our own, Standard mode."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from components.shared.evidence import Candidate
from components.shared.project import ServingSettings
from components.shared.release.kserve import objects as manifest
from serving.__main__ import _parser
from tests import definitions
from tests.components import made_candidate

# A folder with the definitions that a KServe release publishes, as <kind>.crd.yaml.
SCHEMAS = os.environ.get("PERENNIAL_KSERVE_CRDS", "")


@pytest.fixture(name="documents")
def _documents(tmp_path):
    candidate = Candidate.read(made_candidate.evidence(tmp_path / "candidate"), made_candidate.CODE)
    version = SimpleNamespace(version=3, run_id="run", source="s3://bucket/made/3")
    manifest.write(tmp_path / "release", candidate, version, False, "d" * 64, "5d2f0c9a7b1e")
    return {path.stem: yaml.safe_load(path.read_text()) for path in (tmp_path / "release").glob("*.yaml")}


def test_the_first_release_names_its_predictor_runtime_and_storage(documents):
    service = documents["inferenceservice"]

    predictor = service["spec"]["predictor"]
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert predictor["name"] == "v3"
    assert predictor["model"]["storageUri"].startswith("s3://bucket/made/3")
    assert predictor["model"]["runtime"] == documents["servingruntime"]["metadata"]["name"]
    formats = documents["servingruntime"]["spec"]["supportedModelFormats"]
    assert predictor["model"]["modelFormat"]["name"] in [supported["name"] for supported in formats]


def test_the_runtime_serves_any_project_from_the_image_that_the_code_names(documents):
    container = documents["servingruntime"]["spec"]["containers"][0]

    assert container["name"] == "kserve-container"
    assert container["image"] == made_candidate.CODE.get("image:serving", "perennial/serving")
    assert any("{{.Name}}" in argument for argument in container["args"])
    assert any("/mnt/models" in argument for argument in container["args"])


def test_a_new_image_makes_a_new_runtime_and_the_same_one_does_not():
    one, same, other = (
        manifest.serving_runtime(ServingSettings(), f"serving:{tag}")["metadata"]["name"] for tag in "aab"
    )

    assert one == same != other
    assert one.startswith("perennial-")


def test_what_a_version_has_of_its_own_stands_at_its_predictor_only(documents):
    """KServe hands the service's annotations on to every pod: one that changes would replace the champion's pods."""
    service = documents["inferenceservice"]

    assert "3" not in json.dumps(service["metadata"])
    assert service["spec"]["predictor"]["labels"]["perennial/version"] == "3"
    assert service["spec"]["predictor"]["annotations"]["perennial/code_commit"] == made_candidate.CODE["commit"]


def test_a_pod_may_do_nothing_that_serving_does_not_need(documents):
    predictor = documents["inferenceservice"]["spec"]["predictor"]
    runtime = documents["servingruntime"]["spec"]
    [container] = runtime["containers"]

    assert predictor["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert predictor["automountServiceAccountToken"] is False
    assert predictor["serviceAccountName"] == "perennial-models"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert runtime["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]


def test_a_pod_that_was_told_to_end_still_answers_and_is_given_the_time(documents):
    predictor = documents["inferenceservice"]["spec"]["predictor"]
    [container] = documents["servingruntime"]["spec"]["containers"]

    assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == "import time; time.sleep(10)"
    assert predictor["terminationGracePeriodSeconds"] > 10


def test_a_bucket_ends_with_a_slash_or_a_neighbour_would_be_loaded_too(documents):
    assert documents["inferenceservice"]["spec"]["predictor"]["model"]["storageUri"] == "s3://bucket/made/3/"


def test_requests_are_logged_only_where_the_project_says_so(tmp_path):
    made = made_candidate.project(serving={"log_url": "http://collector", "log_mode": "request"})
    candidate = Candidate.read(made_candidate.evidence(tmp_path, named=made), made_candidate.CODE)

    predictor = manifest.inference_service(candidate, "1", "s3://b/m", "d" * 64, "r")["spec"]["predictor"]

    assert predictor["logger"] == {"url": "http://collector", "mode": "request"}


def test_without_a_log_nothing_is_sent_anywhere(documents):
    assert "logger" not in documents["inferenceservice"]["spec"]["predictor"]


def test_the_server_takes_the_arguments_of_the_runtime(documents):
    container = documents["servingruntime"]["spec"]["containers"][0]

    own = documents["inferenceservice"]["spec"]["predictor"]["model"]["args"]

    taken = _parser().parse_args([*container["args"], *own])

    assert container["command"] == ["python", "-m", "serving"]
    assert (taken.version, taken.manifest_sha256) == ("3", "d" * 64)
    assert (taken.name, str(taken.model_dir), taken.port) == ("{{.Name}}", "/mnt/models", 8080)


def test_the_server_of_signed_releases_is_told_whom_it_may_trust(tmp_path):
    keys = tuple(f"-----BEGIN PUBLIC KEY-----\n{letter}\n-----END PUBLIC KEY-----\n" for letter in "AB")
    named = made_candidate.project(release={"signed_by": keys})
    candidate = Candidate.read(made_candidate.evidence(tmp_path / "candidate", named=named), made_candidate.CODE)
    version = SimpleNamespace(version=3, run_id="run", source="s3://bucket/made/3")
    manifest.write(tmp_path / "release", candidate, version, False, "d" * 64, "5d2f0c9a7b1e")

    service = yaml.safe_load((tmp_path / "release" / "inferenceservice.yaml").read_text())
    taken = _parser().parse_args(["--model-dir", "x", *service["spec"]["predictor"]["model"]["args"]])
    assert taken.signed_by == list(keys)


@pytest.mark.parametrize("kind", ["inferenceservice", "servingruntime"])
def test_the_published_schema_knows_every_field(documents, kind):
    path = Path(SCHEMAS) / f"{kind}.crd.yaml"
    if not SCHEMAS:
        pytest.skip("PERENNIAL_KSERVE_CRDS names no folder with KServe's published definitions")
    document = documents[kind]

    assert definitions.problems(document, path) == []
    # The check can fail: a misspelt field and a wrong type are found.
    broken = document | {"spec": {**document["spec"], "predictr": {}}, "metadata": 3}
    assert len(definitions.problems(broken, path)) == 2


@pytest.mark.parametrize("name", ["made", "a_b-c", "x" * 63, "a" * 40 + "_" * 20, "a_"])
def test_a_projects_name_becomes_a_label_of_dns(name):
    label = manifest.resource_name(name)

    assert len(label) <= 40
    assert label.strip("-") == label
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_what_a_pod_logs_goes_to_the_projects_collector_and_the_server_takes_every_option():
    where = "http://collector.perennial.svc.cluster.local:8090"
    project = made_candidate.project(serving={"collector": where}, monitoring={"log_sample": 0.25, "redact": ["usage"]})
    [container] = manifest.serving_runtime(project.serving, "s:1", manifest.options(project))["spec"]["containers"]
    parsed = _parser().parse_args(container["args"])

    assert (parsed.log_collector, parsed.log_sample, parsed.log_redact) == (where, 0.25, ["usage"])
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert any(str(parsed.log_dir).startswith(f"{mount}/") for mount in mounts)


def test_a_pod_looks_up_what_requests_leave_out_at_the_clusters_feature_server_if_the_project_says_so():
    serving = {"online_features": True, "request_features": ["usage"], "lookup_timeout_s": 0.25}
    project = made_candidate.project(serving=serving)
    parsed = _parser().parse_args(["--model-dir=x", *manifest.options(project)])

    assert parsed.feature_server == "http://feature-server.perennial.svc.cluster.local:6566"
    assert (parsed.request_feature, parsed.lookup_timeout_s) == (["usage"], 0.25)


@pytest.mark.parametrize("sections", [{}, {"serving": {"collector": "http://c:8090"}, "monitoring": {"log": False}}])
def test_without_a_collector_or_with_the_log_off_a_pod_logs_nothing(sections):
    assert manifest.options(made_candidate.project(**sections)) == []
