"""``perennial serve`` starts Feast's feature server beside the model server; ``predict --entity`` asks both."""

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from components.shared import polling
from components.shared.errors import InputError, StepFailed
from components.shared.inference import Subject
from pipelines import api
from pipelines.command import terminal
from pipelines.command.cli import main
from pipelines.command.view import View
from pipelines.images import environments
from pipelines.images.environments import Environment
from pipelines.targets.docker.runtime import DockerRuntime
from pipelines.targets.laptop import feature_server
from pipelines.targets.local.backend import LocalServer
from pipelines.targets.opening import open_backend

ROOT = environments.ROOT
VIEWS = [
    {"name": "use", "features": ["usage"], "ttl_s": 86400.0},
    {"name": "contract", "features": ["active", "plan"], "ttl_s": 0.0},
]
FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Bool, Float64, String
from feast.value_type import ValueType

customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)
use = FeatureView(
    name="use", entities=[customer], ttl=timedelta(days=1), schema=[Field(name="usage", dtype=Float64)],
    source=FileSource(name="use", path="data/use.parquet", timestamp_field="moment"),
)
contract = FeatureView(
    name="contract", entities=[customer], ttl=timedelta(0),
    schema=[Field(name="active", dtype=Bool), Field(name="plan", dtype=String)],
    source=FileSource(name="contract", path="data/contract.parquet", timestamp_field="moment"),
)
service = FeatureService(name="service", features=[use, contract])
"""
FILL = """
import sys
from datetime import datetime
from pathlib import Path
import pandas as pd
from components.materialization import online
from components.shared.features import repository

repo, folder, moment = Path(sys.argv[1]), sys.argv[2], pd.Timestamp("2026-05-01", tz="UTC")
store = online.open_store(folder, repo, repo)
for name, values in (("use", {"usage": [1.5, 9.0]}), ("contract", {"active": [True, True], "plan": ["plus", "basic"]})):
    (repo / "data").mkdir(exist_ok=True)
    times = [moment, moment - pd.Timedelta(days=3)]
    pd.DataFrame({"customer": ["c1", "c2"], "moment": times, **values}).to_parquet(repo / "data" / f"{name}.parquet")
import os
os.chdir(repo)
store.apply(repository.load(repo))
for name in ("use", "contract"):
    store.write_to_online_store(name, pd.read_parquet(repo / "data" / f"{name}.parquet"))
"""


@pytest.fixture(scope="module")
def feast() -> Environment:
    return environments.prepare(["materialization"], lambda name: None)["materialization"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, feast: Environment) -> Path:
    """Return a project whose endpoint serves the tiny model and whose online store has two customers."""
    folder = tmp_path_factory.mktemp("project")
    columns = {"usage": "numeric", "active": "boolean", "plan": "categorical"}
    content = {
        "name": "tiny", "task": "binary", "entity": "customer", "event_time": "moment",
        "sources": {"rows": {"path": "rows.parquet"}}, "label": {"source": "rows", "column": "label"},
        "features": {"service": "service", "columns": {name: {"type": kind} for name, kind in columns.items()}},
        "serving": {"online_features": True},
    }  # fmt: skip
    (folder / "project.yaml").write_text(yaml.safe_dump(content))
    repo = folder / "feature_repo"
    repo.mkdir()
    (repo / "features.py").write_text(FEATURES)
    (repo / "feature_store.yaml").write_text("project: tiny\nregistry: registry.db\n")
    subprocess.run([feast.python, "-c", FILL, repo, folder / ".perennial" / "online"], cwd=ROOT, check=True)
    serving = environments.virtualenv(ROOT / "tests" / "requirements.txt", environments.lock_of("serving"))
    release = f"from pathlib import Path; from tests.serving import tiny; tiny.released(Path({str(folder)!r}) / "
    subprocess.run([serving, "-c", f"{release}'.perennial', views={VIEWS!r})"], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[LocalServer]:
    backend = open_backend("laptop", project, ())
    with backend.serve(View(terminal.console()), host="127.0.0.1", port=0, grpc_port=0) as running:
        assert isinstance(running, LocalServer)
        yield running


def test_an_entity_is_enough_for_an_answer_and_a_row_is_used_for_as_long_as_its_view_says(
    project: Path, server: LocalServer
):
    subject = Subject(("c1", "c2"), "2026-05-01T12:00:00+00:00")
    answer = api.ask(project, [{}, {}], subject=subject)

    first, second = answer["predictions"]
    assert first["features"] == {"usage": 1.5, "active": True, "plan": "plus"}
    assert second["features"] == {"usage": None, "active": True, "plan": "basic"}
    assert first["feature_ages"]["use"] == {"event_time": "2026-05-01T00:00:00Z", "age_s": 43200.0, "expired": False}
    assert second["feature_ages"]["use"]["expired"]
    # The model is a logistic function of 0.1 x usage + 2 x active + 1 for "plus".
    assert first["score"] == pytest.approx(0.9590, abs=1e-4)


def test_predict_shows_features_ages_and_score_of_an_entity_and_says_why_there_is_none(
    project: Path, server: LocalServer
):
    command = ["predict", "--project", str(project), "--entity", "c1"]
    shown = CliRunner().invoke(main, [*command, "--at", "2026-05-01T12:00:00", '{"usage": 0}'])
    unknown = CliRunner().invoke(main, ["predict", "--project", str(project), "--entity", "nobody"])

    [prediction] = json.loads(shown.stdout)["predictions"]
    assert prediction["features"] == {"usage": 0, "active": True, "plan": "plus"}
    assert list(prediction["feature_ages"]) == ["contract"]
    assert unknown.exit_code == 2
    assert "the online store has no row of entity 'nobody'; check it, or send the features." in unknown.output


def test_a_feature_server_that_is_killed_ends_the_serving_so_that_both_start_again(server: LocalServer):
    assert server.features is not None
    assert server.poll() is None

    os.killpg(server.features.process.pid, signal.SIGKILL)

    assert polling.within(lambda: server.poll() is not None, 10, 0.02)
    assert server.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    "store, sentence",
    [
        ("{folder}", "is empty, so no features can be looked up; fill it with 'perennial run --pipeline material"),
        ("redis://redis:6379?project=x", "a local endpoint needs a folder"),
    ],
)
def test_a_store_that_cannot_be_served_is_said_before_anything_starts(
    tmp_path: Path, feast: Environment, store: str, sentence: str
):
    with (
        pytest.raises(InputError, match=sentence),
        feature_server.started(feast, store.format(folder=tmp_path), tmp_path / "log"),
    ):
        pass


def test_a_feature_server_that_cannot_start_ends_with_the_end_of_its_log(tmp_path: Path, feast: Environment):
    (tmp_path / "feature_store.yaml").touch()
    program = tmp_path / "feast"
    program.write_text("#!/bin/sh\necho no registry here\nexit 3\n")
    program.chmod(0o755)
    broken = dataclasses.replace(feast, python=tmp_path / "python")
    with (
        pytest.raises(StepFailed, match=r"server ended with 3 before it answered; its log .* ends: 'no registry here'"),
        feature_server.started(broken, str(tmp_path), tmp_path / "log"),
    ):
        pass


def test_an_entity_without_online_features_says_which_key_to_set(project: Path, tmp_path: Path):
    content = yaml.safe_load((project / "project.yaml").read_text())
    (tmp_path / "project.yaml").write_text(yaml.safe_dump(content | {"serving": {}}))
    refused = CliRunner().invoke(main, ["predict", "--project", str(tmp_path), "--entity", "c1"])

    assert refused.exit_code == 2
    assert "'serving: online_features' of the project file is false; set it to true" in refused.output


def test_the_docker_target_says_which_target_has_a_feature_server():
    with pytest.raises(InputError, match="serve with the target 'laptop'"):
        DockerRuntime.feature_server(None, "store", Path("log"))
