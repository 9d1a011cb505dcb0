"""What runs on a cluster keep in the bucket is listed, acknowledged and resolved from here, and nothing gets lost."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from components.notification import logic
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.command import cli
from pipelines.definitions import monitoring
from pipelines.targets.kfp import placement
from pipelines.targets.model import Kfp, Secret
from tests import documents
from tests.components import made_candidate
from tests.pipelines import toy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WHERE = "s3://watched/incidents"
LOSS = {"name": "loss", "state": "alarm", "sentence": "the loss has risen"}
PAGER = {"pager": {"kind": "webhook", "url_env": "PAGER_URL"}}


BUCKET = "watched"


@pytest.fixture
def there(client, s3, tmp_path: Path) -> Path:
    """A project whose target keeps incidents in the bucket."""
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "kfp.yaml").write_text(
        f"kind: kfp\nservices: {{incidents: '{WHERE}'}}\n"
        f"storage: {{uri: minio://watched/perennial, endpoint_url: '{s3}'}}\n"
    )
    return tmp_path


def seen(folder: Path, run: str, sinks: dict[str, Any] | None = None) -> None:
    """Let a run of monitoring on the cluster see that the loss has risen."""
    decision = documents.monitoring_decision(
        action="retrain", cause="concept drift", reasons=("the loss has risen",), signals=(LOSS,)
    )
    path = decision.write(folder / "decision.json")
    logic.notify(watched(sinks or {}), logic.Looked(path, path, path, path), WHERE, "", run, NOW)


def watched(sinks: dict[str, Any]) -> Project:
    return made_candidate.project(monitoring={"notify": sinks})


def keys(client) -> list[str]:
    return sorted(entry["Key"] for entry in client.list_objects_v2(Bucket="watched").get("Contents", []))


def perennial(folder: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.main, ["incidents", *words, "--target", "kfp", "--project", str(folder)])
    assert done.exit_code == code, done.output
    return done.output


def test_an_incident_of_a_cluster_is_dealt_with_from_here(there, client):
    seen(there, "run-1")
    assert "concept drift" in perennial(there, "list")
    assert "run run-1: retrain" in perennial(there, "show", "1")
    assert "incident 1 (concept drift) is acknowledged" in perennial(there, "acknowledge", "1", "--who", "kim")
    assert "by kim" in perennial(there, "show", "1")
    assert "is resolved" in perennial(there, "resolve", "1", "--as", "retrained")
    assert perennial(there, "list") == "no open incident\n"

    seen(there, "run-2")
    assert "the last one of this kind was incident 1: retrained" in perennial(there, "show", "2")
    assert keys(client) == ["incidents/incidents/1.json", "incidents/incidents/2.json"]


def test_a_message_that_a_sink_did_not_take_waits_in_the_bucket_and_the_command_does_not_send_it(there, client):
    seen(there, "run-1", PAGER)

    assert "not delivered" not in perennial(there, "list")
    assert "incidents/outbox/pager/000001-made-1-1-opened.json" in keys(client)


def test_a_target_without_incidents_says_what_to_set(there):
    (there / "targets" / "kfp.yaml").write_text("kind: kfp\nservices: {}\nstorage: {uri: minio://watched/perennial}\n")

    assert "services.incidents of the target is ''; expected a folder in a bucket" in perennial(there, "list", code=2)


def test_an_object_whose_name_leads_elsewhere_is_refused(there, client):
    client.put_object(Bucket="watched", Key="incidents/../../out.json", Body=b"{}")

    assert "which leads elsewhere" in perennial(there, "list", code=2)
    assert not (there.parent / "out.json").exists()


def test_a_sink_whose_login_the_step_would_not_have_is_refused_before_anything_is_sent():
    services, storage = {"incidents": WHERE}, {"uri": "minio://watched/perennial"}
    target = Kfp.model_validate({"kind": "kfp", "services": services, "storage": storage})
    secret = {"name": "pager", "env": {"PAGER_URL": "url"}, "steps": ["notification"]}

    with pytest.raises(InputError, match=r"the sink 'pager' .* variable PAGER_URL, which the target does not give to"):
        placement.compile_(monitoring.monitoring_pipeline, target, watched(PAGER), {})
    given = target.model_copy(update={"secrets": (Secret.model_validate(secret),)})
    placement.compile_(monitoring.monitoring_pipeline, given, watched(PAGER), {})
