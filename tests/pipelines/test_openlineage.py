"""Runs report to a lineage catalogue as OpenLineage defines it, only where asked, and no run fails because of it."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openlineage.client.serde import Serde
from referencing import Registry, Resource

from components.shared.documents.release import RegisteredVersion
from components.shared.project import Project
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.targets.openlineage import wiring
from pipelines.targets.openlineage.events import RunEvents
from pipelines.targets.openlineage.observer import LineageObserver, observed
from pipelines.targets.protocol import RunObserver
from tests import documents

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = ("ingestion", "champion", "split", "training", "registration")


def project(**sources: dict[str, Any]) -> Project:
    given = sources or {"rows": {"path": "rows.csv"}}
    return documents.PROJECT.model_copy(
        update={"sources": Project.model_validate(documents.PROJECT.model_dump() | {"sources": given}).sources}
    )


def a_run(folder: Path) -> runs.Run:
    run = runs.new("made", "training", STEPS, folder / "runs", NOW)
    documents.snapshot("5" * 64).write(folder / "snapshot")
    RegisteredVersion(name="made", version="7", storage_uri="s3://models/7").write(folder / "release")
    run.artifacts = {
        "ingestion.snapshot": str(folder / "snapshot"),
        "split.splits": str(folder / "splits"),
        "registration.release": str(folder / "release"),
    }
    run.commit = "4b9d291"
    return run


def events(run: runs.Run, folder: Path, **changes: Any) -> RunEvents:
    given: dict[str, Any] = {
        "namespace": "ours", "producer": "urn:test", "repository": "https://example.org/repo", "project": project(),
        "root": folder, "wiring": wiring.inputs(compilation.symbolic("training")), "run": run,
    }  # fmt: skip
    return RunEvents(**(given | changes))


def plain(event: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Serde.to_json(event))
    return read


def names(datasets: list[dict[str, Any]]) -> list[str]:
    return [dataset["name"] for dataset in datasets]


def versions(datasets: list[dict[str, Any]]) -> list[str]:
    return [dataset["facets"]["version"]["datasetVersion"] for dataset in datasets]


def test_a_step_reads_what_the_compiled_pipeline_gives_it_also_within_conditions():
    read = wiring.inputs(compilation.symbolic("loop"))

    assert read["split"] == (("feature_retrieval", "training_set"),)
    assert ("champion", "model") in read["evaluation"]
    assert ("gate", "verdict") in read["deployment"] and ("registration", "release") in read["deployment"]
    assert read["champion"] == ()


def test_a_step_has_its_run_as_its_parent_and_its_artifacts_with_their_versions(tmp_path):
    run = a_run(tmp_path)
    described = events(run, tmp_path)
    whole = plain(described.of_run(NOW))
    step = run.step("split")
    assert described.of_step(step, NOW) is None
    step.state = "running"
    started = plain(described.of_step(step, NOW))
    step.state = "cached"
    ended = plain(described.of_step(step, NOW))

    assert (whole["eventType"], whole["job"]["name"]) == ("START", "made.training")
    assert (started["eventType"], ended["eventType"]) == ("START", "COMPLETE")
    assert started["run"]["runId"] == ended["run"]["runId"] != whole["run"]["runId"]
    assert ended["run"]["facets"]["parent"]["run"]["runId"] == whole["run"]["runId"]
    assert ended["run"]["facets"]["parent"]["job"] == {"namespace": "ours", "name": "made.training"} | {
        key: ended["run"]["facets"]["parent"]["job"][key] for key in ("facets",)
    }
    assert names(ended["inputs"]) == ["made.feature_retrieval.training_set"]
    assert names(ended["outputs"]) == ["made.split.splits"] and versions(ended["outputs"]) == [run.id]
    assert ended["job"]["facets"]["sourceCodeLocation"]["version"] == "4b9d291"


def test_ingestion_reads_the_projects_tables_and_its_snapshot_is_named_by_its_content(tmp_path):
    run = a_run(tmp_path)
    run.step("ingestion").state = "done"
    sources = {
        "rows": {"path": "rows.csv"},
        "remote": {"path": "s3://bucket/folder/table.parquet"},
        "sales": {"database": "postgresql+psycopg://somebody:secret@db:5432/shop", "query": "select 1"},
    }

    event = plain(events(run, tmp_path, project=project(**sources)).of_step(run.step("ingestion"), NOW))

    assert [(one["namespace"], one["name"]) for one in event["inputs"]] == [
        ("s3://bucket", "folder/table.parquet"),
        ("file", str(tmp_path.resolve() / "rows.csv")),
        ("postgresql://db:5432", "shop.sales"),
    ]
    assert "secret" not in json.dumps(event)
    assert versions(event["outputs"]) == ["5" * 64]


@pytest.mark.parametrize(
    ("code", "kind", "has_reason"),
    [
        (runs.OK, "COMPLETE", False),
        (runs.REJECTED, "COMPLETE", False),
        (runs.INTERRUPTED, "ABORT", True),
        (runs.FAILED, "FAIL", True),
    ],
)
def test_a_run_ends_as_its_exit_code_says_and_names_the_version_that_it_registered(tmp_path, code, kind, has_reason):
    run = a_run(tmp_path)
    run.exit_code, run.reason = code, "because"

    event = plain(events(run, tmp_path).of_run(NOW))

    assert event["eventType"] == kind
    assert ("errorMessage" in event["run"]["facets"]) is has_reason
    assert names(event["inputs"]) == [str(tmp_path.resolve() / "rows.csv")]
    assert dict(zip(names(event["outputs"]), versions(event["outputs"]), strict=True)) == {
        "made.registration.release": run.id,
        "made.registered_model": "7",
    }


def test_every_event_is_valid_by_the_published_schemas(tmp_path):
    folder = Path(os.environ.get("PERENNIAL_OPENLINEAGE", ""))
    if not (folder / "OpenLineage.json").is_file():
        pytest.skip("PERENNIAL_OPENLINEAGE names no folder with OpenLineage's spec")
    schemas = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    # Facets refer to a version of the main schema; the folder has the newest.
    registry: Registry[Any] = Registry(retrieve=lambda uri: Resource.from_contents(schema(uri)))

    def schema(uri: str) -> Any:
        name = uri.partition("#")[0].rsplit("/", 1)[-1]
        return next(one for one in schemas if one["$id"].rsplit("/", 1)[-1] == name)

    def check(value: Any, uri: str) -> None:
        jsonschema.Draft202012Validator({"$ref": uri}, registry=registry).validate(value)

    run = a_run(tmp_path)
    described, described_events = events(run, tmp_path), []
    for name, state in zip(STEPS, ("done", "cached", "running", "failed", "done"), strict=True):
        run.step(name).state, run.step(name).error = state, "no memory" if state == "failed" else None
        described_events.append(described.of_step(run.step(name), NOW))
    for code in (None, runs.OK, runs.FAILED):
        run.exit_code, run.reason = code, None if code in (None, runs.OK) else "a step failed"
        described_events.append(described.of_run(NOW))

    checked = 0
    for event in map(plain, described_events):
        check(event, event["schemaURL"])
        parts = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
        for facet in [facet for part in parts for facet in part.get("facets", {}).values()]:
            check(facet, facet["_schemaURL"])
            checked += 1
    assert len(described_events) == 8 and checked > 20


class Recorder(RunObserver):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.states: list[str] = []

    def announced(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def changed(self, step: runs.Step) -> None:
        self.states.append(f"{step.name} {step.state}")


@pytest.fixture(name="quiet")
def _quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    return monkeypatch


def lived(observer: Recorder, folder: Path) -> runs.Run:
    """Let an observer see a run from its start to its end."""
    watching = observed(observer, project(), folder)
    run = a_run(folder)
    watching.started(run)
    for state in ("running", "done"):
        run.step("split").state = state
        watching.changed(run.step("split"))
    run.exit_code = runs.OK
    watching.ended(run)
    return run


def test_without_a_variable_nothing_is_sent(quiet, tmp_path):
    observer = Recorder()
    assert observed(observer, project(), tmp_path) is observer
    quiet.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    quiet.setenv("OPENLINEAGE_DISABLED", "True")
    assert observed(observer, project(), tmp_path) is observer


def test_events_go_to_a_file_in_the_order_in_which_things_happen(quiet, tmp_path):
    quiet.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    quiet.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(tmp_path / "events.jsonl"))
    quiet.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    quiet.setenv("OPENLINEAGE_NAMESPACE", "factory")
    observer = Recorder()

    lived(observer, tmp_path)

    written = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(event["eventType"], event["job"]["name"], event["job"]["namespace"]) for event in written] == [
        ("START", "made.training", "factory"),
        ("START", "made.training.split", "factory"),
        ("COMPLETE", "made.training.split", "factory"),
        ("COMPLETE", "made.training", "factory"),
    ]
    assert observer.sentences == [] and observer.states == ["split running", "split done"]


@pytest.fixture(name="refusing")
def _refusing() -> Iterator[tuple[str, list[str]]]:
    """A server that answers every event with 422; what it was asked."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(422)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_a_server_that_refuses_is_asked_once_and_the_run_goes_on(quiet, tmp_path, refusing):
    url, asked = refusing
    quiet.setenv("OPENLINEAGE_URL", url)
    observer = Recorder()

    lived(observer, tmp_path)

    assert asked == ["/api/v1/lineage"]
    [sentence] = observer.sentences
    assert sentence.startswith("this run sends no further OpenLineage events (HTTPError: 422")
    assert observer.states == ["split running", "split done"]


def test_a_configuration_that_makes_no_sense_is_said_and_the_run_goes_on(quiet, tmp_path):
    quiet.setenv("OPENLINEAGE__TRANSPORT__TYPE", "pigeon")
    observer = Recorder()

    lived(observer, tmp_path)

    assert len(observer.sentences) == 1 and "this run sends no further OpenLineage events" in observer.sentences[0]
    assert isinstance(observed(observer, project(), tmp_path), LineageObserver)
