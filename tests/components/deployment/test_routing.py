"""Requests are spread by shares, equal keys stay with their version, and folders of older versions are read."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared import processes
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, StepFailed
from components.shared.release import endpoint_folder, rollback, routing
from components.shared.release.file_journal import FileJournalStore
from components.shared.release.journal import ReleaseJournal, ReleaseUnderWay
from components.shared.release.machine import Phase
from components.shared.release.plan import BASIC
from components.shared.release.routing import Routing

KEYS = [f"customer-{number}" for number in range(4000)]


@pytest.mark.parametrize("share", [1, 20, 50, 99])
def test_each_version_gets_its_share_of_the_keys(share):
    shares = Routing(shares={"7": 100 - share, "8": share})

    measured = 100 * sum(shares.choose(key) == "8" for key in KEYS) / len(KEYS)

    # Four standard deviations of a binomial share.
    assert measured == pytest.approx(share, abs=4 * 100 * (share * (100 - share) / 1e4 / len(KEYS)) ** 0.5)


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_a_key_that_has_the_candidate_keeps_it_while_the_share_grows(key, share, more):
    fewer, larger = sorted((share, more))

    chosen = [Routing(shares={"1": 100 - part, "2": part}).choose(key) for part in (fewer, larger)]

    assert chosen != ["2", "1"]


def test_nothing_is_chosen_before_the_first_release():
    assert Routing().choose("x") is None
    assert Routing(shares={"1": 0}).choose("x") is None
    assert Routing(shares={"1": 0}).primary is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"shares": {"1": 60}}, "expected percentages that sum to 100"),
        ({"shares": {"1": 120, "2": -20}}, "expected percentages that sum to 100"),
        ({"shares": {"1": 100}, "mirrors": ["2"]}, r"mirrors \['2'\] are not among the versions \['1'\]"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(tmp_path, content, sentence):
    (tmp_path / "routing.json").write_text(json.dumps(content))

    with pytest.raises(StepFailed, match=sentence):
        routing.read(tmp_path)


def test_a_broken_routing_is_a_message_with_its_path(tmp_path):
    (tmp_path / "routing.json").write_text("{")

    with pytest.raises(StepFailed, match=r"routing.json is not valid JSON"):
        routing.read(tmp_path)


# Byte for byte what the previous version of the project wrote.
OLD_ACTIVE = '{\n "version": "1"\n}\n'
OLD_JOURNAL = (
    '{\n "former": "1",\n "former_champion": "1",\n "name": "tiny",\n "pid": %d,\n "started": "%s",\n'
    ' "undoing": %s,\n "version": "2"\n}\n'
)
OLD_RELEASE = (
    '{\n "fingerprint": "f",\n "manifest_sha256": "m",\n "name": "tiny",\n "run_id": "r",\n'
    ' "storage_uri": "file:///models/2",\n "unchanged": false,\n "version": "2"\n}\n'
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An endpoint's folder as the previous version left it."""
    (tmp_path / "active.json").write_text(OLD_ACTIVE)
    (tmp_path / "releases" / "2").mkdir(parents=True)
    (tmp_path / "releases" / "2" / "release.json").write_text(OLD_RELEASE)
    return tmp_path


def test_an_older_folder_is_read_and_replaced_by_the_first_change(old):
    assert routing.read(old) == Routing.to("1")

    routing.write(old, Routing(shares={"1": 80, "2": 20}))

    assert not (old / "active.json").exists()
    assert routing.read(old).shares == {"1": 80, "2": 20}


@pytest.mark.parametrize(("undoing", "phase"), [("false", Phase.COMMIT), ("true", Phase.UNDO)])
def test_a_release_that_the_previous_version_left_behind_can_be_recovered(old, undoing, phase):
    (old / "candidate.json").write_text(OLD_JOURNAL % (os.getpid(), "0", undoing))
    store = FileJournalStore(old)

    with store.hold():
        journal = store.read()

        release = RegisteredVersion(name="tiny", version="2", storage_uri="file:///models/2", manifest_sha256="m")
        assert journal == ReleaseJournal(release=release, former="1", former_champion="1", plan=BASIC, phase=phase)
        store.write(journal)
        assert not (old / "candidate.json").exists()
        store.write(None)
    assert store.read() is None


def test_a_process_of_the_previous_version_that_is_alive_keeps_its_release(old):
    (old / "candidate.json").write_text(OLD_JOURNAL % (os.getpid(), processes.started(os.getpid()), "false"))

    with pytest.raises(ReleaseUnderWay, match="release 2 is under way"), FileJournalStore(old).hold():
        pass


def test_of_two_processes_one_holds_the_journal_until_it_is_killed(tmp_path):
    script = f"""
        import sys, time
        from pathlib import Path
        from components.shared.release.file_journal import FileJournalStore
        with FileJournalStore(Path({str(tmp_path)!r})).hold():
            print("held", flush=True)
            time.sleep(600)
    """
    other = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ReleaseUnderWay, match="another release is under way"), FileJournalStore(tmp_path).hold():
            pass
    finally:
        other.kill()
        other.wait()

    with FileJournalStore(tmp_path).hold():
        pass


def test_a_journal_of_the_previous_version_on_a_lease_is_read():
    content = {
        "name": "churn",
        "version": "2",
        "storage_uri": "s3://models/2/",
        "former": "1",
        "former_champion": "1",
        "way": "services",
        "pods": 3,
        "scale": [2, 5],
        "service": {"metadata": {"name": "churn"}},
        "runtime": {"kind": "ServingRuntime"},
        "undoing": False,
    }

    journal = ReleaseJournal.parse(content, "the Lease")

    assert journal.cluster is not None
    assert (journal.cluster.layout, journal.cluster.pods, journal.cluster.scale) == ("two_services", 3, (2, 5))
    assert (journal.version, journal.release.storage_uri, journal.phase) == ("2", "s3://models/2/", Phase.COMMIT)


def installed(endpoint: Path, *versions: str) -> None:
    for version in versions:
        folder = endpoint_folder.release_folder(endpoint, version)
        folder.mkdir(parents=True, exist_ok=True)
        RegisteredVersion(name="tiny", version=version, storage_uri=f"file:///{version}").write(folder)


def test_a_rollback_returns_to_the_version_that_answered_before(tmp_path):
    installed(tmp_path, "1", "2", "3")
    routing.write(tmp_path, Routing.to("3", former="1"))

    assert rollback.former_release(tmp_path).version == "1"
    assert rollback.former_release(tmp_path, "2").version == "2"


def test_a_folder_that_does_not_say_what_answered_before_goes_back_to_the_next_older_version(tmp_path):
    installed(tmp_path, "9", "10", "11")
    routing.write(tmp_path, Routing.to("11"))

    assert rollback.former_release(tmp_path).version == "10"


@pytest.mark.parametrize(
    ("shares", "version", "sentence"),
    [
        (Routing(), None, "nothing has been released"),
        (Routing.to("1"), None, "release 1 is the first one"),
        (Routing.to("1"), "7", r"release 7 is not in the endpoint .*; expected one of \['1'\]"),
    ],
)
def test_what_can_not_be_rolled_back_is_a_message(tmp_path, shares, version, sentence):
    installed(tmp_path, "1")
    routing.write(tmp_path, shares)

    with pytest.raises(InputError, match=sentence):
        rollback.former_release(tmp_path, version)
