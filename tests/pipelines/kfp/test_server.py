"""A cluster's verbs against what a real KFP API server says, and against a real one where KFP_ENDPOINT names it."""

import os
import time
from pathlib import Path

import kfp_server_api
import pytest

from components.shared.errors import InputError
from pipelines import runs
from pipelines.targets.kfp import listing, schedules, submission
from pipelines.targets.kfp.following import Follower, keep_logs
from pipelines.targets.model import Storage
from pipelines.targets.remote.schedules import named
from pipelines.targets.remote.storage import Bucket
from tests.pipelines.kfp import stubs
from tests.pipelines.kfp.double import Double
from tests.pipelines.kfp.place import BUCKET, ENDPOINT, EXPERIMENT, Place


def states(record: runs.Run) -> dict[str, str]:
    return {step.name: step.state for step in record.steps if step.state != "skipped"}


def test_a_promoted_run_ends_with_0(place):
    record, said = place.ran(stubs.branches, how="well", passed=True)

    assert (record.exit_code, record.reason) == (runs.OK, None)
    assert states(record) == {"ingestion": "done", "gate": "done", "deployment": "done"}
    assert record.step("rejection").state == "skipped"
    assert said[-1] == "deployment done"
    assert all(step.seconds > 0 for step in record.steps if step.state == "done")


def test_a_rejected_run_ends_with_3(place):
    record, _ = place.ran(stubs.branches, how="well", passed=False)

    assert (record.exit_code, record.state) == (runs.REJECTED, "rejected")
    assert states(record) == {"ingestion": "done", "gate": "done", "rejection": "done"}


def test_an_equal_run_is_answered_from_the_cache(place):
    server = place.server()
    version = place.uploaded(server, stubs.branches)
    for _ in range(2):
        record = place.submitted(server, version, how="cache-1", passed=False)
        place.followed(server, record)

    assert states(record) == {"ingestion": "cached", "gate": "cached", "rejection": "done"}


@pytest.mark.parametrize(
    ("how", "code", "sentence"),
    [
        ("input", runs.BAD_INPUT, "Source 'labels': there is no file labels.csv; expected one. Put it there."),
        ("blocked", runs.BLOCKED, "42 values are out of range; look at the report."),
        ("bug", runs.FAILED, "it raised IndexError: list index out of range"),
    ],
    ids=["input", "blocked", "bug"],
)
def test_an_exception_ends_with_its_code_and_its_last_line(place, how, code, sentence):
    record, _ = place.ran(stubs.step, how=how)

    assert (record.exit_code, record.reason) == (code, sentence)
    assert record.step("ingestion").error == sentence
    assert "Traceback" in Path(record.step("ingestion").log).read_text()


def test_a_step_out_of_memory_says_so(place):
    limits = {"steps": {"ingestion": {"memory": "64Mi", "memory_limit": "128Mi"}}}
    record, _ = place.ran(stubs.step, resources=limits, how="memory")

    assert record.exit_code == runs.FAILED
    assert record.reason == "it ran out of memory; raise memory_limit under 'resources' in project.yaml."


def test_a_hung_step_ends_at_its_timeout(place):
    record, _ = place.ran(stubs.step, resources={"steps": {"ingestion": {"timeout_s": 8}}}, how="hung")

    assert record.exit_code == runs.FAILED
    assert record.reason.startswith("it did not end within its timeout_s under 'resources' in project.yaml")


def test_a_step_that_is_tried_again_succeeds(place):
    once = {"steps": {"ingestion": {"retries": 2, "retry_wait_s": 1}}}
    record, _ = place.ran(stubs.step, resources=once, how="retried")

    assert record.exit_code == runs.OK
    assert states(record) == {"ingestion": "done"}


def test_an_image_that_is_not_there_ends_the_run_after_the_deadline(place):
    record, said = place.ran(
        stubs.step, image="localhost/absent:1", keys={"start_deadline_s": 20 if ENDPOINT else 1}, how="well"
    )

    assert record.exit_code == runs.FAILED
    assert "the image 'localhost/absent:1' can't be pulled (" in record.reason
    assert "not within start_deadline_s" in record.reason
    assert any(sentence.startswith("ingestion waits: the image 'localhost/absent:1' can't") for sentence in said)
    keep_logs(Follower(place.server(), record, lambda step: None), record)
    assert record.step("ingestion").log is None


def test_a_pod_that_fits_no_node_ends_the_run_after_the_deadline(place):
    record, _ = place.ran(
        stubs.step,
        resources={"steps": {"ingestion": {"cpu": "1000"}}},
        keys={"start_deadline_s": 15 if ENDPOINT else 1},
        how="well",
    )

    assert record.exit_code == runs.FAILED
    assert record.reason.startswith("no node fits (")
    assert "Insufficient cpu" in record.reason


def test_a_secret_that_is_not_there_ends_the_run_after_the_deadline(place):
    absent = [{"name": "absent", "env": {"PGUSER": "user"}}]
    record, _ = place.ran(stubs.step, keys={"secrets": absent, "start_deadline_s": 15 if ENDPOINT else 1}, how="well")

    assert record.exit_code == runs.FAILED
    assert 'secret "absent" not found' in record.reason


def test_a_bundle_that_is_not_in_the_bucket_is_a_failure_of_the_step_that_reads_it(place):
    record, _ = place.ran(stubs.bundled, project_uri=f"{BUCKET}/bundles/absent.zip")

    assert record.exit_code == runs.FAILED
    assert record.step("split").state == "failed"
    assert "No such file or directory" in record.reason


def test_another_bundle_is_never_answered_from_the_cache_of_the_first(place, tmp_path):
    server = place.server()
    version = place.uploaded(server, stubs.bundled)
    ended = []
    for name in ("first", "first", "other"):
        if ENDPOINT:
            (tmp_path / name).write_text(name)
            Bucket(Storage(uri=BUCKET, endpoint_url=os.environ["AWS_ENDPOINT_URL"])).put_bundle(tmp_path / name)
        record = place.submitted(server, version, project_uri=f"{BUCKET}/bundles/{name}")
        place.followed(server, record)
        ended.append(record.step("split").state)

    assert ended == ["done", "cached", "done"]


def test_a_run_that_somebody_ends_says_so(place):
    server = place.server()
    record = place.submitted(server, place.uploaded(server, stubs.step), how="hung")
    follower = Follower(server, record, lambda step: None)
    follower.look()
    follower.terminate()
    follower.to_the_end(poll_s=1 if ENDPOINT else 0.01)

    assert (record.exit_code, record.state) == (runs.INTERRUPTED, "interrupted")
    assert record.reason == "it was ended at the server."


def test_a_version_is_uploaded_once_and_another_content_is_another_version(place):
    server = place.server()
    first = place.uploaded(server, stubs.step)
    again = place.uploaded(server, stubs.step)
    other = place.uploaded(server, stubs.step, default={"memory": "1Gi"})

    assert (again.id, again.name, again.fresh) == (first.id, "r1", False)
    assert other.id != first.id
    assert other.name.startswith("r1-")


def test_a_version_that_somebody_else_uploads_at_the_same_time_is_taken(place, monkeypatch):
    server = place.server()
    place.uploaded(server, stubs.step)
    known = submission._version
    answers = iter([None])
    monkeypatch.setattr(submission, "_version", lambda *asked: next(answers, None) or known(*asked))

    assert place.uploaded(server, stubs.step).fresh is False


def test_runs_and_logs_show_what_a_run_left(place):
    server = place.server()
    record = place.submitted(server, place.uploaded(server, stubs.step), how="well")
    place.followed(server, record)

    assert listing.find(server, record.id[:-2], place.folder, EXPERIMENT) == record.remote
    newest = listing.newest(server, EXPERIMENT, 5, place.folder)
    assert record.remote in [run.id for run in newest]
    assert next(run for run in newest if run.id == record.remote).state == "finished"
    # For the server, a run that the gate rejected has succeeded: the record knows better.
    runs.end(record, runs.REJECTED, None)
    newest = listing.newest(server, EXPERIMENT, 5, place.folder)
    assert next(run for run in newest if run.id == record.remote).state == "rejected"
    with listing.record_of(server, record.remote, place.folder) as (kept, follower):
        keep_logs(follower, kept)
        assert "ingested well" in Path(kept.step("ingestion").log).read_text()


def test_a_run_without_a_local_record_has_the_state_and_the_names_of_one_with_it(tmp_path):
    double = Double("a-rejected-run-ends-with-3", page_sizes=[5, 200])
    here = Place(double.url, tmp_path / "here", "a-rejected-run-ends-with-3")
    record, _ = here.ran(stubs.branches, how="well", passed=False)
    elsewhere, server = tmp_path / "elsewhere", here.server()

    # The server calls a run that the gate rejected SUCCEEDED, and nobody here watched the run of a schedule.
    assert [(run.id, run.state) for run in listing.newest(server, EXPERIMENT, 5, elsewhere)] == [
        (record.remote, "rejected")
    ]
    for beginning in (record.remote[:4], record.remote[:13], record.remote[:-1], record.remote):
        assert listing.find(server, beginning, elsewhere, EXPERIMENT) == record.remote
    other = "0" * 8 if not record.remote.startswith("0") else "1" * 8
    with pytest.raises(InputError, match=f"would not show the run '{other}'"):
        listing.find(server, other, elsewhere, EXPERIMENT)
    double.shutdown()
    assert [problem.split()[1] for problem in double.problems] == [f"/apis/v2beta1/runs/{other}"]


def test_a_run_that_nobody_knows_is_one_sentence(place):
    with pytest.raises(InputError, match=r"would not show the run 'absent'.*not found"):
        listing.find(place.server(), "absent", place.folder, EXPERIMENT)


def test_a_schedule_is_made_paused_resumed_and_deleted(place):
    server = place.server()
    version = place.uploaded(server, stubs.step)

    made = schedules.create(server, "nightly", "0 30 6 * * *", version, {"how": "well"}, EXPERIMENT)
    assert (made.name, made.cron, made.enabled, made.version_id) == ("nightly", "0 30 6 * * *", True, version.id)
    with pytest.raises(InputError, match="the schedule 'nightly' already exists; delete it first"):
        schedules.create(server, "nightly", "0 0 7 * * *", version, {"how": "well"}, EXPERIMENT)
    schedules.pause(server, made)
    assert not named(schedules.listing(server, EXPERIMENT), "nightly").enabled
    schedules.resume(server, made)
    assert named(schedules.listing(server, EXPERIMENT), "nightly").enabled
    schedules.delete(server, made, EXPERIMENT)
    with pytest.raises(InputError, match="the schedule 'nightly' does not exist; expected one of"):
        named(schedules.listing(server, EXPERIMENT), "nightly")


def test_a_schedule_whose_run_goes_on_is_paused_and_not_deleted(place):
    server = place.server()
    version = place.uploaded(server, stubs.step)
    experiment = f"{EXPERIMENT}-often"
    made = schedules.create(server, "often", "*/5 * * * * *", version, {"how": "hung"}, experiment)
    for _ in range(60):
        going = [
            run for run in listing.newest(server, experiment, 5, place.folder) if run.state in ("pending", "running")
        ]
        if going:
            break
        time.sleep(1 if ENDPOINT else 0.01)

    with pytest.raises(
        InputError,
        match=r"is paused, its run .* goes on; wait for it or end it with 'perennial runs --target kfp --end",
    ):
        schedules.delete(server, made, experiment)
    assert not named(schedules.listing(server, experiment), "often").enabled
    if ENDPOINT:
        server.client.terminate_run(going[0].id)
        server.client.delete_recurring_run(made.id)


def test_a_schedule_that_the_server_does_not_understand_is_one_sentence(place):
    server = place.server()
    version = place.uploaded(server, stubs.step)

    with pytest.raises(InputError, match=r"would not take the schedule '0 99 6 . . .': .*cron") as caught:
        schedules.create(server, "wrong", "0 99 6 * * *", version, {"how": "well"}, EXPERIMENT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cron", "sentence"),
    [
        ("30 6 * * *", r"has 5 fields, expected six \(second, minute, .*\); write '0 30 6 \* \* \*'"),
        ("daily", r"has 1 fields, expected six"),
        ("", r"has 0 fields"),
    ],
)
def test_a_schedule_has_six_fields(cron, sentence):
    with pytest.raises(InputError, match=sentence):
        schedules.check_cron(cron)


def test_a_server_of_this_version_is_taken(place):
    assert place.server().version


def test_a_field_that_the_server_does_not_know_is_refused(place):
    """The double is as strict as the server."""
    api = place.server().client._run_api.api_client

    with pytest.raises(kfp_server_api.ApiException, match="400"):
        api.call_api(
            "/apis/v2beta1/experiments",
            "POST",
            body={"display_name": "a", "colour": "blue"},
            header_params={"Content-Type": "application/json"},
        )


def test_a_parameter_that_is_missing_is_one_sentence(place):
    server = place.server()
    version = place.uploaded(server, stubs.step)

    with pytest.raises(InputError, match=r"would not create a run: .*parameter how is not optional"):
        place.submitted(server, version)
