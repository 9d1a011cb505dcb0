"""The collector keeps in the bucket what servers log, each row once, and a step in a pod reads it from there."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from prometheus_client import REGISTRY
from pyarrow import parquet

from components.shared import label_store, polling
from components.shared.errors import InputError
from components.shared.inference_log import compaction, remote, remote_forgetting, segments
from pipelines.images.environments import ROOT
from pipelines.targets.kfp import submission
from pipelines.targets.kfp.backend import KfpBackend
from pipelines.targets.model import Kfp
from pipelines.targets.protocol import RunRequest
from pipelines.targets.remote.storage import Bucket
from pipelines.targets.remote.submission import arguments
from pipelines.targets.state import State
from serving.collector.inbox import Inbox
from serving.collector.keeper import Keeper
from tests.components import made_log
from tests.components.made_log import FIRST, request

LOG = "s3://collected/log"


BUCKET = "collected"


def content(*requests: dict[str, Any], folder: Path) -> bytes:
    """Return a segment, as a server would send it."""
    made_log.write(folder, requests)
    [path] = segments.wal(folder).glob("*.jsonl")
    sent = path.read_bytes()
    path.unlink()
    return sent


def keeper(folder: Path, *, day: float = 0.5, retention_days: int = 180, bucket: str = LOG) -> Keeper:
    now = FIRST + timedelta(days=day)
    return Keeper(folder, Inbox(folder), bucket, retention_days=retention_days, clock=lambda: now)


def name(number: int) -> str:
    return f"{10**18 + number:020d}-1-1-sender.jsonl"


def keys(client) -> list[str]:
    return sorted(entry["Key"] for entry in client.list_objects_v2(Bucket="collected").get("Contents", []))


def ids(folder: Path) -> list[str]:
    """Return the request ids in the bucket, as a step reads them."""
    return sorted(
        row
        for path in compaction.files(remote.fetch(LOG, folder))
        for row in parquet.read_table(path)["request_id"].to_pylist()
    )


def test_rows_reach_the_bucket_by_day_and_are_read_from_there(client, tmp_path):
    inbox = Inbox(tmp_path / "data")
    inbox.take(name(1), content(request("a", 0.1), request("b", 1.2), folder=tmp_path / "pod"))
    assert keeper(tmp_path / "data").keep()

    assert [key.rpartition("/")[0] for key in keys(client)] == ["log/day=2026-01-01", "log/day=2026-01-02"]
    assert ids(tmp_path / "step") == ["a", "b"]


def test_a_segment_that_is_sent_again_counts_once_even_after_it_is_in_the_bucket(client, tmp_path):
    sent = content(request("a", 0.1), folder=tmp_path / "pod")
    inbox = Inbox(tmp_path / "data")
    taken = [inbox.take(name(1), sent), inbox.take(name(1), sent)]
    keeper(tmp_path / "data").keep()
    taken.append(Inbox(tmp_path / "data").take(name(1), sent))
    keeper(tmp_path / "data").keep()

    assert taken == [True, False, False]
    assert ids(tmp_path / "step") == ["a"]


def test_what_the_bucket_refuses_stays_and_is_tried_again(client, tmp_path):
    Inbox(tmp_path / "data").take(name(1), content(request("a", 0.1), folder=tmp_path / "pod"))

    assert not keeper(tmp_path / "data", bucket="s3://nobody-has-this/log").keep()
    assert keeper(tmp_path / "data").keep()
    assert ids(tmp_path / "step") == ["a"]


def test_many_files_of_a_day_become_one_and_no_row_is_lost_or_doubled(client, tmp_path):
    for number in range(40):
        Inbox(tmp_path / "data").take(name(number), content(request(f"r{number:02}", 0.1), folder=tmp_path / "pod"))
        keeper(tmp_path / "data").keep()

    assert ids(tmp_path / "step") == [f"r{number:02}" for number in range(40)]
    assert len(keys(client)) <= 20


def test_a_copy_that_was_fetched_between_two_merges_has_every_row_once(client, tmp_path):
    for number in range(40):
        Inbox(tmp_path / "data").take(name(number), content(request(f"r{number:02}", 0.1), folder=tmp_path / "pod"))
        keeper(tmp_path / "data").keep()
        if number in (15, 17):
            ids(tmp_path / "step")

    assert ids(tmp_path / "step") == [f"r{number:02}" for number in range(40)]


def noted(client) -> list[str]:
    # pyarrow leaves an empty object for a folder that has become empty.
    return [key for key in keys(client) if "/forgotten/" in key and not key.endswith("/")]


def forget(s3: str, tmp_path: Path, *entities: str, day: float) -> tuple[int, int]:
    done = backend(s3, tmp_path).forget(entities, FIRST + timedelta(days=day))
    return done.rows, done.labels


def test_what_is_forgotten_leaves_the_bucket_whatever_the_collector_still_has(client, s3, tmp_path):
    data, pod = tmp_path / "data", tmp_path / "pod"
    inbox = Inbox(data)
    inbox.take(name(1), content(request("a", 0.1, entity=["ada"]), request("b", 0.1, entity=["bob"]), folder=pod))
    keeper(data).keep()
    # Compacted, but not in the bucket yet; and a segment that comes late.
    inbox.take(name(2), content(request("c", 0.2, entity=["ada"]), folder=pod))
    assert not keeper(data, bucket="s3://nobody-has-this/log").keep()
    late = content(request("d", 0.3, entity=["ada"]), request("e", 0.9, entity=["ada"]), folder=pod)
    backend(s3, tmp_path).add_labels(labels_of({"request_id": "a", "label": "yes"}, {"request_id": "b"}), FIRST)

    assert forget(s3, tmp_path, "ada", "nobody", day=0.5) == (1, 1)
    assert ids(tmp_path / "at once") == ["b"]
    [note] = (key for key in keys(client) if "/forgotten/" in key)
    assert b"ada" not in client.get_object(Bucket=BUCKET, Key=note)["Body"].read()
    inbox.take(name(3), late)
    keeper(data, day=0.6).keep()

    assert ids(tmp_path / "later") == ["b", "e"]
    assert forget(s3, tmp_path, "ada", day=2.0) == (1, 0)


def test_a_file_that_was_published_while_somebody_was_forgotten_is_published_again_without_them(client, s3, tmp_path):
    data = tmp_path / "data"
    Inbox(data).take(name(1), content(request("a", 0.1, entity=["ada"]), folder=tmp_path / "pod"))
    compaction.compact(data)
    forget(s3, tmp_path, "ada", day=9.5)
    # As if the listing of the files had come before this.
    remote.publish(data, LOG, FIRST + timedelta(days=9.6))
    assert ids(tmp_path / "between") == ["a"]

    for _ in range(2):
        keeper(data, day=9.7).keep()

    assert ids(tmp_path / "later") == []
    assert list(data.glob("day=*")) == []


def test_somebody_is_forgotten_whole_although_the_first_try_is_cut_off(client, s3, tmp_path, monkeypatch):
    pod = tmp_path / "pod"
    for number, request_id in enumerate("abc"):
        logged = request(request_id, 0.1 + number, entity=["ada"])
        Inbox(tmp_path / "data").take(name(number), content(logged, folder=pod))
    keeper(tmp_path / "data").keep()
    rows = [{"request_id": request_id, "label": "yes"} for request_id in "abcd"]
    backend(s3, tmp_path).add_labels(labels_of(*rows), FIRST)
    replaced = iter([True])

    def cut_off(system: Any, path: str, table: pa.Table) -> None:
        if "/day=" in path and not next(replaced, False):
            raise ConnectionError("the bucket is gone")
        real(system, path, table)

    real = remote_forgetting._replace
    with monkeypatch.context() as patched, pytest.raises(InputError, match="the bucket is gone"):
        patched.setattr(remote_forgetting, "_replace", cut_off)
        forget(s3, tmp_path, "ada", day=9.0)

    forget(s3, tmp_path, "ada", day=9.1)
    [labels] = remote.fetch("s3://collected/labels", tmp_path / "step").glob("*.parquet")
    assert parquet.read_table(labels)["request_id"].to_pylist() == ["d"]
    assert ids(tmp_path / "later") == []


def test_a_note_that_the_collector_could_not_carry_out_is_carried_out_later(client, s3, tmp_path):
    data = tmp_path / "data"
    Inbox(data).take(name(1), content(request("a", 0.1, entity=["ada"]), folder=tmp_path / "pod"))
    keeper(data).keep()
    [published] = keys(client)
    before = client.get_object(Bucket=BUCKET, Key=published)["Body"].read()
    forget(s3, tmp_path, "ada", day=0.5)
    client.put_object(Bucket=BUCKET, Key=published, Body=before)
    remote_forgetting.fetch_notes(LOG, data)
    remote_forgetting.drop(data)  # and then the process is killed

    assert ids(tmp_path / "between") == ["a"]
    keeper(data).keep()
    assert ids(tmp_path / "later") == []


def test_a_note_ends_with_the_retention_of_the_rows_that_it_is_about(client, s3, tmp_path):
    data, inbox = tmp_path / "data", Inbox(tmp_path / "data")
    forget(s3, tmp_path, "ada", day=0.5)
    late = content(request("late", 0.2, entity=["ada"]), folder=tmp_path / "pod")
    keeper(data, day=1, retention_days=30).keep()

    # Its day is the oldest one that is kept.
    inbox.take(name(1), late)
    keeper(data, day=30.9, retention_days=30).keep()
    assert ids(tmp_path / "step") == []
    assert len(noted(client)) == len(list(data.glob("forgotten/*"))) == 1

    keeper(data, day=31.1, retention_days=30).keep()
    assert noted(client) == list(data.glob("forgotten/*")) == []
    inbox.take(name(2), late)
    keeper(data, day=31.2, retention_days=30).keep()
    assert ids(tmp_path / "afterwards") == list(data.glob("day=*")) == []


def test_days_that_are_over_leave_the_disk_and_late_rows_of_them_still_arrive(client, tmp_path):
    inbox = Inbox(tmp_path / "data")
    inbox.take(name(1), content(request("a", 0.1), folder=tmp_path / "pod"))
    for _ in range(2):
        keeper(tmp_path / "data", day=5).keep()
    assert list((tmp_path / "data").glob("day=*")) == []
    inbox.take(name(2), content(request("late", 0.2), folder=tmp_path / "pod"))
    keeper(tmp_path / "data", day=6).keep()

    assert ids(tmp_path / "step") == ["a", "late"]


def test_days_older_than_the_retention_leave_the_bucket(client, tmp_path):
    Inbox(tmp_path / "data").take(name(1), content(request("old", 0.1), request("new", 9.5), folder=tmp_path / "pod"))
    keeper(tmp_path / "data", day=10, retention_days=5).keep()

    assert ids(tmp_path / "step") == ["new"]


def test_a_folder_of_this_machine_is_read_where_it_is(tmp_path):
    assert remote.fetch(str(tmp_path / "log"), tmp_path / "copy") == tmp_path / "log"
    assert not (tmp_path / "copy").exists()


def test_an_unavailable_bucket_is_told_in_a_sentence(client, tmp_path):
    with pytest.raises(InputError, match="there is no bucket 'nobody-has-this' for s3://nobody-has-this/log"):
        remote.fetch("s3://nobody-has-this/log", tmp_path)


def test_half_a_segment_is_refused_and_nothing_of_it_stays(tmp_path):
    inbox = Inbox(tmp_path)

    with pytest.raises(InputError, match="does not begin with the header of an inference log"):
        inbox.take(name(1), b'{"version": 1, "mod')
    with pytest.raises(InputError, match="is no name of a segment"):
        inbox.take("../1.jsonl", made_log.HEADER.line())
    assert list(segments.wal(tmp_path).iterdir()) == []


def backend(s3: str, tmp_path: Path, labels: str = "s3://collected/labels") -> KfpBackend:
    target = Kfp.model_validate(
        {
            "kind": "kfp",
            "services": {"labels": labels, "inference_log": LOG},
            "storage": {"uri": "minio://collected/perennial", "endpoint_url": s3},
        }
    )
    return KfpBackend("kfp", target, State(tmp_path, target.services))


def labels_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=label_store.SCHEMA)


def test_labels_are_added_to_the_bucket_once_and_read_from_there(client, s3, tmp_path):
    labels = labels_of({"request_id": "a", "label": "yes"})
    there = backend(s3, tmp_path)
    added = [there.add_labels(labels, FIRST + timedelta(days=day)) for day in (1, 2)]

    assert [(each.rows, each.is_new) for each in added] == [(1, True), (1, False)]
    [copy] = remote.fetch("s3://collected/labels", tmp_path / "step").glob("*.parquet")
    assert parquet.read_table(copy)["label"].to_pylist() == ["yes"]
    with pytest.raises(InputError, match=r"services.labels of the target is '/srv', which no step reaches"):
        backend(s3, tmp_path, "/srv").add_labels(labels, FIRST)


def test_a_collector_that_is_asked_to_end_brings_everything_to_the_bucket_first(tmp_path):
    port = free_port()
    folder, where = f"--folder={tmp_path / 'data'}", f"--bucket=file://{tmp_path / 'bucket'}"
    command = [sys.executable, "-m", "serving.collector", folder, where, f"--port={port}", "--every=1000"]
    with subprocess.Popen([*command, "--retention-days=36500"], cwd=ROOT) as process:
        assert polling.within(lambda: _is_up(port), 30, 0.1)
        sent = content(request("a", 0.1), folder=tmp_path / "pod")
        assert httpx.put(f"http://127.0.0.1:{port}/segments/{name(1)}", content=sent).status_code == HTTPStatus.CREATED
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    [path] = (tmp_path / "bucket").rglob("*.parquet")
    assert parquet.read_table(path)["request_id"].to_pylist() == ["a"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False


def test_monitoring_on_a_cluster_reads_log_and_labels_from_the_bucket_and_uploads_no_table(client, s3, tmp_path):
    shutil.copy(ROOT / "project.yaml", tmp_path)
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo")
    target = backend(s3, tmp_path).target
    services = target.services.model_copy(update={"inference_log": LOG})
    target = target.model_copy(update={"services": services})
    requested = RunRequest("monitoring")
    prepared = submission.prepare(State(tmp_path, services), target, requested)
    parameters = arguments(prepared, Bucket(target.storage), requested)

    assert (parameters["inference_log"], parameters["labels"]) == (LOG, "s3://collected/labels")
    assert {key.split("/")[1] for key in keys(client)} == {"bundles"}


def test_a_failure_that_nobody_foresaw_does_not_end_the_keeping(client, tmp_path):
    Inbox(tmp_path / "data").take(name(1), content(request("a", 0.1), folder=tmp_path / "pod"))
    (tmp_path / "data" / "day=nonsense").mkdir()
    keeping = keeper(tmp_path / "data")
    thread = threading.Thread(target=keeping.run, args=(0.05,))
    before = REGISTRY.get_sample_value("perennial_collector_failures_total") or 0.0
    thread.start()
    assert polling.within(
        lambda: (REGISTRY.get_sample_value("perennial_collector_failures_total") or 0.0) > before, 30, 0.05
    )
    (tmp_path / "data" / "day=nonsense").rmdir()
    assert polling.within(lambda: bool(keys(client)), 30, 0.05)
    keeping.close()
    thread.join()

    assert ids(tmp_path / "step") == ["a"]
