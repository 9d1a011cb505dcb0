"""Bundle and tables travel through a bucket by their content: once, whole, and with a sentence where it refuses."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic
from components.shared import sources
from components.shared.errors import InputError, StepFailed
from components.shared.project import Project
from pipelines.targets.model import Storage
from pipelines.targets.remote.storage import Bucket

PROJECT = {
    "name": "small",
    "task": "binary",
    "entity": "id",
    "event_time": "at",
    "sources": {"rows": {"path": "data/rows.csv"}, "usage": {"path": "../usage", "time": "at"}},
    "label": {"source": "rows", "column": "y"},
    "features": {"service": "small_v1", "columns": {"x": {"type": "numeric"}}},
}


BUCKET = "mlpipeline"


@pytest.fixture
def project(tmp_path) -> tuple[Project, Path]:
    """A CSV table in the project's folder and a folder of parquet files beside it."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "data" / "rows.csv").write_text("id,at,x,y\n1,2024-01-01,0.5,0\n2,2024-01-02,1.5,1\n")
    for month in ("01", "02"):
        part = tmp_path / "usage" / f"month={month}"
        part.mkdir(parents=True)
        table = pa.table({"id": [1, 2], "at": pa.array([0, 1], pa.timestamp("us")), "used": [1.0, int(month)]})
        pq.write_table(table, part / "part.parquet")
    return Project.model_validate(PROJECT), root


def bucket(uri: str = "minio://mlpipeline/perennial") -> Bucket:
    return Bucket(Storage(uri=uri))


def times(client) -> dict[str, object]:
    found = client.list_objects_v2(Bucket="mlpipeline").get("Contents", [])
    return {entry["Key"]: entry["LastModified"] for entry in found}


def upload(project: Project, root: Path) -> str:
    digest = sources.source_hash(project, root)
    assert digest is not None
    return bucket().put_tables(project, root, digest)


def test_ingestion_reads_from_the_bucket_what_it_reads_from_the_folder(client, project, tmp_path):
    use_case, root = project
    here = logic.ingest(use_case, str(root), tmp_path / "here")

    there = logic.ingest(use_case, upload(use_case, root), tmp_path / "there")

    assert there == here
    for name in ("rows.parquet", "usage.parquet", "snapshot.json"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "rows.parquet", "snapshot.json", "usage.parquet",
    ]  # fmt: skip


def test_the_same_content_is_uploaded_once(client, project):
    use_case, root = project
    first = upload(use_case, root)
    before = times(client)

    assert upload(use_case, root) == first
    assert times(client) == before


def test_other_content_goes_elsewhere(client, project):
    use_case, root = project
    first = upload(use_case, root)
    with (root / "data" / "rows.csv").open("a") as table:
        table.write("3,2024-01-03,2.5,0\n")

    assert upload(use_case, root) != first


def test_an_upload_that_was_cut_off_is_finished_by_the_next(client, project, tmp_path):
    use_case, root = project
    folder = upload(use_case, root).removeprefix("s3://mlpipeline/")
    client.delete_object(Bucket="mlpipeline", Key=f"{folder}/.complete")
    client.delete_object(Bucket="mlpipeline", Key=f"{folder}/__/usage/month=02/part.parquet")
    client.put_object(Bucket="mlpipeline", Key=f"{folder}/data/rows.csv", Body=b"id,at")

    whole = logic.ingest(use_case, upload(use_case, root), tmp_path / "whole")

    assert whole == logic.ingest(use_case, str(root), tmp_path / "here")


def test_a_bundle_keeps_its_name_so_its_address_says_its_content(client, tmp_path):
    bundle = tmp_path / "project-0123456789abcdef.zip"
    bundle.write_bytes(b"content")

    uri = bucket().put_bundle(bundle)

    assert uri == "minio://mlpipeline/perennial/bundles/project-0123456789abcdef.zip"
    key = uri.removeprefix("minio://mlpipeline/")
    assert client.get_object(Bucket="mlpipeline", Key=key)["Body"].read() == b"content"


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        (
            "s3://mlpipeline/empty",
            r"source 'rows': data/rows.csv does not exist in s3://mlpipeline/empty; expected",
        ),
        ("s3://nobody/empty", r"source 'rows': data/rows.csv does not exist in s3://nobody/empty"),
        (
            "ftp://mlpipeline/empty",
            r"cannot access ftp://mlpipeline/empty .*check the address",
        ),
    ],
)
def test_a_table_that_is_not_there_is_one_sentence(client, project, tmp_path, root, sentence):
    with pytest.raises(InputError, match=sentence):
        logic.ingest(project[0], root, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_bucket_that_nobody_serves_is_one_sentence(client, project, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StepFailed, match=r"cannot access .* \(.*connect.*check the address") as caught:
        upload(*project)
    assert "\n" not in str(caught.value)


def test_a_bucket_that_refuses_is_one_sentence(client, project, tmp_path):
    with pytest.raises(InputError, match=r"cannot access minio://nobody/perennial"):
        Bucket(Storage(uri="minio://nobody/perennial")).put_bundle(shutil.copy(__file__, tmp_path / "a.zip"))


@pytest.mark.parametrize("uri", ["perennial", "http://bucket/prefix", "s3://"])
def test_an_address_that_is_no_bucket_is_refused(uri):
    with pytest.raises(InputError, match="expected s3://, minio:// or gs://"):
        bucket(uri)
