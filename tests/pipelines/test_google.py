"""The Terraform of infra/google is whole, and gives no more rights than are needed."""

import re
from typing import Any

import hcl2
import pytest
import yaml

from pipelines.images.environments import ROOT
from pipelines.targets.model import Vertex

FILES = sorted((ROOT / "infra" / "google").glob("*.tf"))
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in FILES)


def unquoted(value: Any) -> Any:
    """Take the quotes off that the parser leaves around texts and labels."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [unquoted(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


def blocks(kind: str) -> list[dict[str, Any]]:
    """Return all blocks of a kind, parsed strictly."""
    return [block for path in FILES for block in unquoted(hcl2.loads(path.read_text())).get(kind, [])]


def resources() -> dict[str, dict[str, Any]]:
    return {
        f"{kind}.{name}": body
        for block in blocks("resource")
        for kind, named in block.items()
        for name, body in named.items()
    }


def test_every_reference_leads_to_something_declared():
    declared = {"var": {name for block in blocks("variable") for name in block}}
    declared["local"] = {name for block in blocks("locals") for name in block}

    assert set(re.findall(r"\bvar\.(\w+)", TEXT)) == declared["var"]
    assert set(re.findall(r"\blocal\.(\w+)", TEXT)) <= declared["local"]
    assert set(re.findall(r"(?<![\w\"])(google_\w+\.\w+)(?:\[0\])?\.", TEXT)) <= set(resources())


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_what_users_see_is_described(kind):
    for block in blocks(kind):
        for body in block.values():
            assert body["description"].endswith(".")


def test_nobody_gets_a_role_over_everything():
    roles = {body["role"] for name, body in resources().items() if "_iam_member" in name}

    assert roles == {
        "roles/storage.objectUser", "roles/artifactregistry.reader", "roles/artifactregistry.writer",
        "roles/logging.logWriter", "roles/aiplatform.user", "roles/iam.serviceAccountUser",
        "roles/iam.workloadIdentityUser", "roles/monitoring.viewer", "roles/container.defaultNodeServiceAccount",
    }  # fmt: skip
    of_project = {body["role"] for name, body in resources().items() if name.startswith("google_project_iam_member")}
    assert of_project == {
        "roles/logging.logWriter", "roles/aiplatform.user", "roles/monitoring.viewer",
        "roles/container.defaultNodeServiceAccount",
    }  # fmt: skip


def test_whoever_starts_a_container_as_the_steps_account_may_use_it():
    users = {
        body["member"]
        for body in resources().values()
        if body.get("role") == "roles/iam.serviceAccountUser" and "steps" in body["service_account_id"]
    }

    assert users == {"${google_service_account.steps.member}", "${google_service_account.ci[0].member}"}


def test_a_cluster_is_only_made_if_asked_for_and_its_pods_have_no_credentials_of_its_nodes():
    of_cluster = {name: body for name, body in resources().items() if re.search(r"container_|nodes|hmac", name)}
    assert len(of_cluster) == 6
    assert {body["count"] for body in of_cluster.values()} == {"${var.with_cluster ? 1 : 0}"}

    cluster, pool = (of_cluster[f"google_container_{name}"] for name in ("cluster.perennial", "node_pool.nodes"))
    [node] = pool["node_config"]
    assert cluster["datapath_provider"] == "ADVANCED_DATAPATH" and cluster["deletion_protection"] is True
    assert node["workload_metadata_config"][0]["mode"] == "GKE_METADATA"
    assert node["service_account"] == "${google_service_account.nodes[0].email}"


def test_an_output_with_a_secret_is_not_printed():
    secret = {
        name: body for block in blocks("output") for name, body in block.items() if "secret" in str(body["value"])
    }

    assert set(secret) == {"bucket_keys"} and secret["bucket_keys"]["sensitive"] is True


def test_the_bucket_is_private_and_only_runs_are_deleted():
    bucket = resources()["google_storage_bucket.data"]

    assert (bucket["uniform_bucket_level_access"], bucket["public_access_prevention"]) == (True, "enforced")
    [rule] = bucket["lifecycle_rule"]
    assert rule["condition"][0]["matches_prefix"] == ["perennial/runs/"]


def test_only_one_branch_of_one_repository_gets_a_token():
    provider = resources()["google_iam_workload_identity_pool_provider.github"]

    assert "assertion.repository == '${var.github_repository}'" in provider["attribute_condition"]
    assert "assertion.ref == 'refs/heads/main'" in provider["attribute_condition"]


def test_the_output_has_the_keys_of_the_target_file():
    [value] = [block["target"]["value"] for block in blocks("output") if "target" in block]
    shipped = yaml.safe_load((ROOT / "pipelines" / "targets" / "vertex.yaml").read_text())

    assert set(value) <= set(Vertex.model_fields)
    assert set(value["storage"]) <= set(shipped["storage"]) and set(value["images"]) <= set(shipped["images"])
