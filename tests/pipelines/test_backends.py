"""Every backend keeps the same contract, whichever machines its target runs on."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml

from components.shared.errors import InputError
from pipelines import runs
from pipelines.definitions import catalog
from pipelines.targets.opening import BACKENDS, open_backend
from pipelines.targets.protocol import Backend, RunObserver, RunRequest
from pipelines.targets.remote import submission
from tests.engine import base, client_or_skip
from tests.pipelines import toy
from tests.pipelines.kfp.conftest import s3  # noqa: F401 - a fixture
from tests.pipelines.kfp.double import Double
from tests.pipelines.vertex.conftest import google, vertex_server  # noqa: F401 - fixtures

# A run that was submitted, listed, shown and ended at a real server.
RECORDING = "a-submitted-run-is-recorded-listed-shown-and-ended"


class Watcher(RunObserver):
    """Keeps what a backend says."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.events: list[str] = []

    def announced(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def started(self, run: runs.Run) -> None:
        self.events.append("started")

    def changed(self, step: runs.Step) -> None:
        self.events.append(f"{step.name} {step.state}")

    def ended(self, run: runs.Run) -> None:
        self.events.append("ended")


@dataclass(frozen=True)
class Case:
    """A backend, a run that it can make, and whether that run is followed to its end here."""

    backend: Backend
    request: RunRequest
    follows: bool


def project_in(folder: Path) -> Path:
    (folder / "project.yaml").write_text(toy.PROJECT)
    (folder / "rows.csv").write_text("id,at,x,y\n1,2024-01-01,0.5,0\n")
    return folder


@pytest.fixture(params=list(BACKENDS))
def case(request, tmp_path, monkeypatch) -> Iterator[Case]:
    monkeypatch.setitem(catalog.PIPELINES, "toy", toy.ENTRY)
    root = project_in(tmp_path)
    if request.param == "laptop":
        yield Case(open_backend("laptop", root), RunRequest("toy"), follows=True)
    elif request.param == "docker":
        client_or_skip()
        yield Case(open_backend("docker", root, [f"images.base={base()}"]), RunRequest("toy"), follows=True)
    elif request.param == "vertex":
        google = request.getfixturevalue("google")
        yield Case(open_backend("vertex", root, google.settings), RunRequest(), follows=False)
    else:
        address = request.getfixturevalue("s3")
        monkeypatch.setattr(submission, "revision", lambda: "0123456789ab")
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": address}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="mlpipeline")
        double = Double(RECORDING)
        where = [f"host={double.url}", f"storage.endpoint_url={os.environ['AWS_ENDPOINT_URL']}"]
        yield Case(open_backend("kfp", root, where), RunRequest(), follows=False)
        double.shutdown()
        assert double.problems == []


class TestBackend:
    """What verbs and the API rely on."""

    def test_it_compiles_a_pipeline_with_an_image_for_every_step(self, case):
        entry = case.request.entry
        pipeline = next(yaml.safe_load_all(case.backend.compile(entry)))

        executors = pipeline["deploymentSpec"]["executors"].values()
        images = [executor["container"]["image"] for executor in executors if "container" in executor]
        assert len(images) == len(entry.steps)
        assert all(re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", image) for image in images)

    def test_a_run_is_recorded_listed_and_shown_and_nothing_is_printed(self, case, capsys):
        watcher = Watcher()
        with case.backend.start(case.request, watcher) as started:
            record = started.record
            assert (record.project, record.pipeline) == ("small", case.request.pipeline)
            assert [step.name for step in record.steps] == list(case.request.entry.steps)
            if case.follows:
                assert started.follow().is_file()
                assert (record.exit_code, watcher.events[0], watcher.events[-1]) == (runs.OK, "started", "ended")
                assert "gate done" in watcher.events
            else:
                assert any(str(record.remote) in sentence for sentence in watcher.sentences)

        assert runs.load(record.folder / "run.json").pipeline == record.pipeline
        listed = case.backend.runs()
        assert (record.remote or record.id) in [run.id for run in listed]
        with case.backend.logs(record.id) as shown:
            assert [step.name for step in shown.steps] == [step.name for step in record.steps]
        with case.backend.results(record.id) as shown:
            assert shown.id == record.id
        assert capsys.readouterr().out == ""

    def test_it_runs_on_this_machine_or_at_a_server_and_says_which(self, case):
        checks = (case.backend.check_machine, case.backend.check_server)
        refused = []
        for check in checks:
            try:
                check()
            except InputError as error:
                refused.append(str(error))

        assert len(refused) == 1
        assert f"the target {case.backend.name!r} is of kind" in refused[0]

    def test_what_a_target_does_not_have_is_one_sentence_that_names_it(self, case):
        if not case.follows:
            missing = [lambda: case.backend.serve(Watcher(), host="127.0.0.1", port=0, grpc_port=0)]
        else:
            missing = [
                lambda: case.backend.end("x"),
                lambda: case.backend.upload(case.request.entry, None),
                lambda: case.backend.create_schedule(case.request, "0 0 0 * * *", None),
                case.backend.schedules,
                lambda: case.backend.pause_schedule("x"),
                lambda: case.backend.resume_schedule("x"),
                lambda: case.backend.delete_schedule("x"),
            ]
        for call in missing:
            with pytest.raises(InputError, match=rf"the target '{case.backend.name}' of kind .* has no .*; ") as caught:
                call()
            assert "\n" not in str(caught.value)


def test_a_run_that_does_not_exist_on_this_machine_is_one_sentence(tmp_path):
    backend = open_backend("laptop", project_in(tmp_path))

    with pytest.raises(InputError, match="there is no run 'absent'; 'perennial runs --target laptop' lists them"):
        backend.logs("absent").__enter__()
