"""What was decided is recorded in order; an edited, rewritten or truncated record is found."""

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared import audit, registry
from components.shared.audit import AuditHead
from components.shared.documents.release import RegisteredVersion
from pipelines import runs
from pipelines.audit import heads, recording
from pipelines.audit.recording import AuditLog
from pipelines.command import cli
from pipelines.runs import Run
from tests import documents
from tests.pipelines import toy

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def filled(path: Path, count: int = 5) -> list[AuditHead]:
    return [audit.append(path, "release", "kim", {"version": str(n), "who": "Žofie"}, NOW).head for n in range(count)]


def rewritten(path: Path, change: Any) -> None:
    """Change the entries and write a chain anew that is right in itself, as somebody would who knows how."""
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    for content in change(kept):
        audit.append(path, content["kind"], content["who"], content["details"], NOW)


def test_what_is_appended_is_read_again_in_order_and_nothing_is_wrong_with_it(tmp_path):
    log = tmp_path / "audit.jsonl"
    newest = filled(log)[-1]

    assert [entry.details["version"] for entry in audit.entries(log)] == ["0", "1", "2", "3", "4"]
    assert audit.problems(log, {"the registry": newest}) == []


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_any_changed_byte_is_found_unless_every_entry_says_the_same_as_before(tmp_path_factory, place, byte):
    log = tmp_path_factory.mktemp("log") / "audit.jsonl"
    written = filled(log)
    content = bytearray(log.read_bytes())
    content[place % len(content)] = byte
    log.write_bytes(bytes(content))

    assert audit.problems(log, {"the registry": written[-1]}) or heads_in(log) == written


def heads_in(log: Path) -> list[AuditHead]:
    return [entry.head for entry in audit.entries(log)]


def test_an_edited_entry_is_named(tmp_path):
    log = tmp_path / "audit.jsonl"
    filled(log)
    log.write_text(log.read_text().replace('"version": "2"', '"version": "7"'))

    assert audit.problems(log, {}) == ["entry 3 was edited: it does not have the hash that it was written with"]


@pytest.mark.parametrize("lines", [[0, 1, 3, 4], [1, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 1, 2, 3, 4]])
def test_a_removed_moved_or_repeated_entry_breaks_the_chain(tmp_path, lines):
    log = tmp_path / "audit.jsonl"
    filled(log)
    written = log.read_text().splitlines(keepends=True)
    log.write_text("".join(written[line] for line in lines))

    assert any("the chain breaks at line" in problem for problem in audit.problems(log, {}))


def test_a_chain_that_was_written_anew_is_right_in_itself_but_not_what_the_head_knows(tmp_path):
    log = tmp_path / "audit.jsonl"
    newest = filled(log)[-1]
    rewritten(log, lambda entries: [{**entry, "who": "somebody else"} for entry in entries])

    assert audit.problems(log, {}) == []
    assert audit.problems(log, {"the registry": newest}) == [
        "the log was rewritten: its entry 5 is not the one that the registry knows"
    ]


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_an_end_that_was_cut_off_is_found_by_the_head(tmp_path, kept):
    log = tmp_path / "audit.jsonl"
    newest = filled(log)[-1]
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:kept]))

    assert audit.problems(log, {}) == []
    assert audit.problems(log, {"the registry": newest}) == [
        f"the end was cut off: the registry knows 5 entries, the log has {kept}"
    ]


def test_a_head_that_is_older_than_the_newest_entry_fits(tmp_path):
    log = tmp_path / "audit.jsonl"
    older = filled(log)[2]

    assert audit.problems(log, {"the endpoint": older}) == []


def test_a_line_that_was_torn_by_a_kill_is_no_entry_and_is_removed_by_the_next(tmp_path):
    log = tmp_path / "audit.jsonl"
    newest = filled(log)[-1]
    with log.open("ab") as stream:
        stream.write(b'{"number": 6, "at": "20')

    assert audit.problems(log, {"the registry": newest}) == []
    assert audit.append(log, "rollback", "kim", {}, NOW).number == 6
    assert audit.problems(log, {"the registry": newest}) == []


def _append_ten(log: Path) -> None:
    for number in range(10):
        audit.append(log, "monitoring", "kim", {"number": number}, NOW)


def test_processes_that_write_at_once_make_one_chain(tmp_path):
    log = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_ten, args=(log,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [entry.number for entry in audit.entries(log)] == list(range(1, 41))
    assert audit.problems(log, {}) == []


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl", tmp_path / "endpoint", "small")


def test_the_head_is_kept_in_the_registry_and_at_the_endpoint(log, tmp_path):
    client = registry.open(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_registered_model("small")
    log.record("release", {"version": "1"}, client)
    log.record("monitoring", {"action": "nothing"})

    assert {where: head.number for where, head in log.heads(client).items()} == {heads.REGISTRY: 1, heads.ENDPOINT: 2}
    assert log.problems(client) == []
    log.record("rollback", {"version": "1"}, client)
    assert {head.number for head in log.heads(client).values()} == {3}


def test_before_the_first_registration_only_the_endpoint_keeps_the_head(log, tmp_path):
    log.record("rejection", {}, registry.open(f"sqlite:///{tmp_path / 'mlflow.db'}"))

    assert set(log.heads(None)) == {heads.ENDPOINT}


def test_the_evidence_of_a_cut_end_is_not_overwritten_by_the_next_entry(log, caplog):
    for number in range(3):
        log.record("release", {"version": str(number)})
    log.path.write_text(log.path.read_text().splitlines(keepends=True)[0])
    log.record("release", {"version": "9"})

    assert "the audit log is not what was written" in caplog.text
    for number in range(3):
        log.record("release", {"version": f"1{number}"})
    assert log.problems(None) == ["the log was rewritten: its entry 3 is not the one that the endpoint knows"]


def made_run(folder: Path, exit_code: int, **artifacts: Any) -> Run:
    paths = {}
    for name, document in artifacts.items():
        step, _, output = name.partition("__")
        if not document.IS_ARTIFACT:
            (folder / name).mkdir()
        document.write(folder / name)
        paths[f"{step}.{output}"] = str(folder / name)
    return Run("r1", "small", "training", folder, NOW.isoformat(), [], exit_code, artifacts=paths)


def test_a_release_is_recorded_with_its_version_package_and_the_rules_it_passed(tmp_path):
    version = RegisteredVersion(name="small", version="4", storage_uri="s3://b/4", manifest_sha256="d" * 64)
    run = made_run(tmp_path, runs.OK, gate__verdict=documents.verdict(), registration__release=version)
    [decided] = recording.decided(run)

    kind, details = decided
    assert (kind, details["version"], details["manifest_sha256"], details["run"]) == ("release", "4", "d" * 64, "r1")
    assert details["rules"] and all(rule["passed"] for rule in details["rules"])


def test_a_rejection_and_a_look_are_recorded_with_their_reasons_and_a_failed_run_is_not(tmp_path):
    rejected = made_run(tmp_path, runs.REJECTED, gate__verdict=documents.verdict(promote=False))
    (tmp_path / "look").mkdir()
    looked = made_run(tmp_path / "look", runs.OK, decision__outcome=documents.monitoring_decision())
    (tmp_path / "failed").mkdir()
    failed = made_run(tmp_path / "failed", runs.FAILED, gate__verdict=documents.verdict())

    kinds = [next((kind for kind, _ in recording.decided(run)), None) for run in (rejected, looked, failed)]
    assert kinds == ["rejection", "monitoring", None]


def command(folder: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.main, ["audit", *arguments, "--project", str(folder)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_verbs_list_the_log_and_end_with_5_where_it_was_changed(tmp_path):
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    assert "there is no audit log yet" in command(tmp_path, "verify", code=2)
    log = AuditLog(tmp_path / ".perennial" / "audit.jsonl", tmp_path / ".perennial" / "endpoint", "small")
    log.record("release", {"version": "1", "run": "r1"})
    log.record("monitoring", {"action": "watch", "reasons": ["usage drifted"]})

    assert "release 1, run r1" in command(tmp_path, "show") and "- usage drifted" in command(tmp_path, "show")
    assert "release 1" not in command(tmp_path, "show", "--last", "1")
    assert "2 entries, none of them edited, removed or added later (the endpoint knows 2" in command(tmp_path, "verify")
    log.path.write_text(log.path.read_text().replace("usage", "price"))
    assert "entry 2 was edited" in command(tmp_path, "verify", code=5)
