"""Housekeeping on a cluster removes what no run, version or schedule needs and nothing else, also when it is cut."""

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from components.shared import registry
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import StepFailed
from pipelines.command import cli
from pipelines.images.environments import ROOT
from pipelines.targets import reading
from pipelines.targets.kfp.backend import KfpBackend
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.housekeeping import Housekeeping
from pipelines.targets.kfp.server_runs import ServerRuns
from pipelines.targets.model import Kfp, Storage
from pipelines.targets.protocol import Collected
from pipelines.targets.remote.storage import Bucket
from tests import documents
from tests.pipelines.kfp.runs_server import RunsServer
from tests.pipelines.kfp.test_artifacts import node
from tests.pipelines.kfp.test_verbs import PROJECT

BUCKET = "mlpipeline-of-small"
ARTIFACTS = f"minio://{BUCKET}/v2/artifacts/perennial-training"
INPUTS = f"minio://{BUCKET}/perennial"
LATER = timedelta(days=2)


class Cluster:
    """A server with runs, the bucket that they fill, and the housekeeping of the project "small"."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self.server, self._client = RunsServer(), client
        self._storage = Storage(uri=INPUTS, endpoint_url=endpoint)

    def put(self, uri: str, content: bytes = b"content") -> None:
        self._client.put_object(Bucket=BUCKET, Key=uri.removeprefix(f"minio://{BUCKET}/"), Body=content)

    def run(self, run: str, *, version: str | None = None, reads: str | None = None, **options: Any) -> None:
        """Add a run: its steps ingestion (or one that took another run's snapshot) and registration, with files."""
        snapshot = f"{ARTIFACTS}/{reads or run}/ingestion/1/snapshot"
        release = f"{ARTIFACTS}/{run}/registration/2/release"
        source = {"taskOutputArtifact": {"producerTask": "ingestion", "outputArtifactKey": "snapshot"}}
        nodes = [] if reads else node("ingestion", "w.root", writes={"snapshot": snapshot})
        nodes += node("registration", "w.root", reads={"snapshot": (snapshot, source)}, writes={"release": release})
        if reads is None:
            self.put(f"{snapshot}/rows.parquet")
        registered = documents.registered_version(name="small", version=version or "0", unchanged=version is None)
        self.put(f"{release}/{RegisteredVersion.FILE}", json.dumps(registered.as_json()).encode())
        own = {"project_uri": f"{INPUTS}/bundles/{run}.zip", "source_root": f"s3://{BUCKET}/perennial/tables/{run}"}
        parameters = {**own, **options.pop("parameters", {})}
        self.put(parameters["project_uri"])
        for name in ("rows.parquet", ".complete"):
            self.put(f"{parameters['source_root'].replace('s3://', 'minio://')}/{name}")
        self.server.add(run, nodes, **options, **parameters)

    def collect(
        self, keep: int = 1, *, dry_run: bool = False, after: timedelta = LATER, versions: str = ""
    ) -> Collected:
        target = reading.read("kfp", ROOT, [f"host={self.server.url}", "secrets=[]", "env={}"])
        assert isinstance(target, Kfp)
        bucket, now = Bucket(self._storage), datetime.now(UTC) + after
        return Housekeeping(ServerRuns(Server(target)), bucket, "small", versions, now).collect(keep, dry_run=dry_run)

    def files(self) -> set[str]:
        """Name what the bucket holds, but the empty objects that pyarrow leaves for folders."""
        keys = [entry["Key"] for entry in self._client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key for key in keys if not key.endswith("/")}

    def of(self, *runs: str) -> set[str]:
        """Name the files that these runs left."""
        return {key for key in self.files() if any(run in key for run in runs)}


@pytest.fixture
def cluster(client, s3) -> Iterator[Cluster]:
    cluster = Cluster(client, s3)
    yield cluster
    cluster.server.shutdown()
    cluster.server.server_close()


def test_the_newest_runs_and_those_of_registered_versions_stay_with_all_that_they_read(cluster):
    for number, version in enumerate((None, "1", "2", None, None)):
        cluster.run(f"run-{number}", version=version)
    stays = cluster.of("run-1", "run-4")

    done = cluster.collect(keep=1, versions="1")

    assert set(cluster.server.runs) == {"run-1", "run-4"}
    assert cluster.files() == stays and len(stays) == 10
    assert "run run-0 (run-0)" in done.removed and done.bytes > 0 and done.kept == ()
    assert cluster.collect(keep=1, versions="1") == Collected((), 0, ())


def test_a_dry_run_says_what_would_be_removed_and_removes_nothing(cluster):
    for number in range(3):
        cluster.run(f"run-{number}")
    before = cluster.files()

    planned = cluster.collect(dry_run=True)

    assert cluster.files() == before and len(cluster.server.runs) == 3
    assert cluster.collect() == planned


def test_what_a_kept_run_took_from_the_cache_stays_until_that_run_goes(cluster):
    cluster.run("first")
    cluster.run("second", reads="first")

    cluster.collect(keep=1)

    assert set(cluster.server.runs) == {"second"}
    left = {key for key in cluster.of("first") if "/v2/artifacts/" in f"/{key}"}
    assert left == {"v2/artifacts/perennial-training/first/ingestion/1/snapshot/rows.parquet"}
    cluster.run("third")
    cluster.collect(keep=1)
    assert cluster.of("first", "second") == set()


@pytest.mark.parametrize("names_it", ["another project's run", "a schedule"])
def test_a_bundle_and_tables_that_somebody_names_stay(cluster, names_it):
    cluster.run("old")
    shared = {"project_uri": f"{INPUTS}/bundles/old.zip", "source_root": f"s3://{BUCKET}/perennial/tables/old"}
    if names_it == "a schedule":
        cluster.server.schedule("morning", **shared)
    else:
        cluster.server.add("other", [], pipeline="other-training", **shared)

    cluster.collect(keep=0)

    assert "old" not in cluster.server.runs
    left = {"perennial/bundles/old.zip", "perennial/tables/old/rows.parquet", "perennial/tables/old/.complete"}
    assert cluster.of("old") == left


def test_a_project_whose_pipelines_are_called_like_ours_is_known_by_its_bundle(cluster):
    """The pipeline "training" of "small-tfx" has the name of our "tfx-training"."""
    for run, project in (("ours", "small"), ("theirs", "small-tfx"), ("unknown", None)):
        cluster.run(run, pipeline="small-tfx-training")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("project.json", json.dumps({"name": project}))
        cluster.put(f"{INPUTS}/bundles/{run}.zip", content.getvalue() if project else b"no bundle")

    assert cluster.collect(keep=0).removed[0] == "run ours (ours)"
    assert set(cluster.server.runs) == {"theirs", "unknown"}


def test_the_newest_runs_of_each_pipeline_stay(cluster):
    cluster.run("scores", pipeline="small-batch-scoring")
    for number in range(3):
        cluster.run(f"run-{number}")

    cluster.collect(keep=1)

    assert set(cluster.server.runs) == {"scores", "run-2"}


@pytest.mark.parametrize("status", [{}, {"compressedNodes": "H4sI"}, {"offloadNodeStatusVersion": "fnv:1"}])
def test_a_run_of_which_the_server_does_not_say_what_it_used_stays_with_all_files(cluster, status):
    cluster.run("silent", version="1")
    cluster.run("old")
    cluster.server.statuses["silent"] = status
    before = cluster.files()

    done = cluster.collect(keep=0, versions="1")

    assert set(cluster.server.runs) == {"silent"} and before <= cluster.files()
    assert "run silent (silent) succeeded, but the server does not say any more" in done.kept[0]


def test_what_a_run_read_that_began_and_ended_while_others_were_deleted_stays(cluster):
    cluster.run("old")
    cluster.server.deleted = lambda run: cluster.run("quick", reads="old")

    cluster.collect(keep=0)

    assert set(cluster.server.runs) == {"quick"}
    assert "v2/artifacts/perennial-training/old/ingestion/1/snapshot/rows.parquet" in cluster.files()


def test_tables_that_a_user_put_below_ours_stay(cluster):
    cluster.put(f"{INPUTS}/tables/raw/rows.parquet")
    cluster.run("old", parameters={"source_root": f"s3://{BUCKET}/perennial/tables/raw/"})
    cluster._client.delete_object(Bucket=BUCKET, Key="perennial/tables/raw//.complete")

    cluster.collect(keep=0)

    assert "perennial/tables/raw/rows.parquet" in cluster.files()


def test_a_run_that_another_process_deleted_meanwhile_is_no_failure(cluster):
    cluster.run("first")
    cluster.run("second")
    cluster.server.deleted = lambda run: cluster.server.runs.clear()

    assert [item for item in cluster.collect(keep=0).removed if item.startswith("run ")] == [
        "run second (second)",
        "run first (first)",
    ]


def test_another_project_s_runs_are_left_alone(cluster):
    cluster.run("theirs", pipeline="other-training")
    before = cluster.files()

    assert cluster.collect(keep=0) == Collected((), 0, ())
    assert cluster.files() == before and set(cluster.server.runs) == {"theirs"}


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "PAUSED", "CANCELING"])
def test_while_a_run_is_under_way_nothing_is_removed_and_it_is_named(cluster, state):
    cluster.run("old")
    cluster.run("going", state=state)
    before = cluster.files()

    done = cluster.collect(keep=0)

    assert done.removed == () and "run going (going) is under way" in done.kept[0]
    assert cluster.files() == before and set(cluster.server.runs) == {"old", "going"}


def test_files_stay_when_a_run_begins_meanwhile_and_go_the_next_time(cluster):
    cluster.run("old")
    cluster.server.deleted = lambda run: cluster.server.add("going", [], state="RUNNING")

    done = cluster.collect(keep=0)

    assert done.removed == ("run old (old)",) and "run going (going) is under way" in done.kept[0]
    # Its files, and the note that says that they are to go.
    assert len(cluster.of("old")) == 6
    cluster.server.deleted = lambda run: None
    cluster.server.runs["going"]["state"] = "FAILED"
    cluster.collect(keep=1)
    assert cluster.files() == set()


def test_a_bundle_that_was_uploaded_for_a_run_that_is_yet_to_begin_stays_until_it_is_old(cluster):
    cluster.run("old")

    cluster.collect(keep=0, after=timedelta(hours=23))
    assert {"perennial/bundles/old.zip", "perennial/tables/old/rows.parquet"} < cluster.of("old")

    cluster.collect(keep=0, after=timedelta(hours=25))
    assert cluster.files() == set()


class Cut(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("survived", range(0, 11, 2))
def test_what_a_killed_process_left_is_finished_by_the_next(cluster, monkeypatch, survived):
    cluster.run("first")
    cluster.run("second")
    cluster.run("third", version="1")
    stays, left = cluster.of("third"), iter(range(survived))

    def cut(change: Any) -> Any:
        def changed(*arguments: Any) -> None:
            if next(left, None) is None:
                raise Cut
            change(*arguments)

        return changed

    with monkeypatch.context() as patched:
        for name in ("write", "delete"):
            patched.setattr(Bucket, name, cut(getattr(Bucket, name)))
        patched.setattr(cluster.server, "deleted", lambda run: next(left, None))
        with pytest.raises(Cut):
            cluster.collect(keep=0, versions="1")
    assert stays <= cluster.files()

    cluster.collect(keep=0, versions="1")
    assert cluster.files() == stays and set(cluster.server.runs) == {"third"}


def test_a_bundle_that_is_there_for_long_is_written_again_for_the_run_that_reads_it(client, s3, tmp_path):
    bundle = tmp_path / "project-1.zip"
    bundle.write_bytes(b"bundle")
    storage = Storage(uri=INPUTS, endpoint_url=s3)

    def put(after: timedelta) -> None:
        Bucket(storage, lambda: datetime.now(UTC) + after).put_bundle(bundle)

    put(timedelta(0))
    client.put_object(Bucket=BUCKET, Key="perennial/bundles/project-1.zip", Body=b"others")
    put(timedelta(hours=11))
    assert client.get_object(Bucket=BUCKET, Key="perennial/bundles/project-1.zip")["Body"].read() == b"others"
    put(timedelta(hours=13))
    assert client.get_object(Bucket=BUCKET, Key="perennial/bundles/project-1.zip")["Body"].read() == b"bundle"


def test_the_command_says_what_it_removed_and_that_it_reaches_no_models_namespace(cluster, s3, tmp_path, monkeypatch):
    (tmp_path / "project.yaml").write_text(PROJECT)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(KfpBackend, "open_registry", lambda self: registry.open(uri))
    cluster.run("old")
    storage = (f"storage.uri={INPUTS}", f"storage.endpoint_url={s3}")
    settings = [part for key in (f"host={cluster.server.url}", *storage) for part in ("--set", key)]

    done = CliRunner().invoke(
        cli.main,
        ["gc", "--target", "kfp", "--keep", "0", "--project", str(tmp_path), *settings],
        catch_exceptions=False,
    )

    assert done.exit_code == 0 and cluster.server.runs == {}
    first, *_, kept, freed = done.output.splitlines()
    assert first == "removed run old (old)" and freed == "freed 0.0 MiB"
    assert kept.startswith("kept: the models' namespace is left alone: no cluster is configured here")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "vertex"), "the target 'vertex' of kind 'vertex' has no housekeeping of ours; a lifecycle rule"),
        (("--target", "kfp", "--cache-days", "3"), "--cache-days is about virtualenvs of this machine"),
    ],
)
def test_what_a_target_has_not_is_refused_in_a_sentence(tmp_path, arguments, sentence):
    (tmp_path / "project.yaml").write_text(PROJECT)

    done = CliRunner().invoke(cli.main, ["gc", *arguments, "--project", str(tmp_path)])

    assert done.exit_code == 2 and sentence in " ".join(done.output.split())


def test_a_note_that_nobody_of_ours_wrote_is_refused_in_a_sentence(cluster):
    cluster.put(f"{INPUTS}/collecting/small/run.json", b'{"folder": 1}')

    with pytest.raises(StepFailed, match=r"run\.json is not a valid CollectionNote"):
        cluster.collect()
