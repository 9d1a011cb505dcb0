"""Any logged request is found by its id alone, with the labels that are its own, and an unknown id says why."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from components.shared import label_store
from components.shared.inference_log import compaction, lookup
from pipelines.command import cli
from tests.components import made_log
from tests.components.made_log import FIRST, add_labels, request, write
from tests.pipelines import toy


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1), unique=True, min_size=1))
def test_each_request_is_found_and_nothing_else(tmp_path_factory, ids):
    log = tmp_path_factory.mktemp("log")
    write(log, [request(name, day % 5, rows=day % 3 + 1) for day, name in enumerate(ids)])

    for day, name in enumerate(ids):
        found = lookup.find(log, name)
        assert found is not None
        assert found["request_id"].to_pylist() == [name] * (day % 3 + 1)
        assert found["row"].to_pylist() == list(range(day % 3 + 1))
    assert lookup.find(log, "".join(ids) + "?") is None


def test_requests_of_several_releases_and_days_are_found(tmp_path):
    write(tmp_path, [request("a", 0), request("b", 40)])
    header = made_log.SegmentHeader("made", "2", made_log.HEADER.features, ("usage",))
    write(tmp_path, [request("c", 80)], header, sequence=2)

    releases = {name: lookup.find(tmp_path, name)["release"].to_pylist() for name in "abc"}

    assert releases == {"a": ["1"], "b": ["1"], "c": ["2"]}


def test_an_empty_log_has_no_request(tmp_path):
    assert lookup.find(tmp_path / "log", "a") is None


def test_a_label_is_the_rows_own_and_the_latest(tmp_path):
    log, labels = tmp_path / "log", tmp_path / "labels"
    write(log, [request("a", 1, rows=2, entity=["x", "y"], event_day=1), request("b", 2, entity=["x"], event_day=2)])
    add_labels(labels, [{"request_id": "a", "row": 1, "label": "no"}, {"entity": "x", "day": 1, "label": "no"}], 100)
    add_labels(labels, [{"entity": "x", "day": 1, "label": "yes"}, {"entity": "z", "day": 2, "label": "no"}], 101)

    assert label_store.of_request(labels, lookup.find(log, "a")) == {0: "yes", 1: "no"}
    assert label_store.of_request(labels, lookup.find(log, "b")) == {}
    assert label_store.of_request(tmp_path / "none", lookup.find(log, "a")) == {}


def explained(folder: Path, request_id: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.main, ["explain", request_id, "--project", str(folder)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_shows_what_was_asked_and_answered(tmp_path):
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    asked = request(
        "order 7", 1, usage=[0.1], entity=["x"], event_day=0, unseen=[["plan"]], action=["yes"], propensity=[0.05]
    )
    write(tmp_path / ".perennial" / "log", [asked])
    add_labels(tmp_path / ".perennial" / "labels", [{"request_id": "order 7", "label": "yes"}])

    said = explained(tmp_path, "order 7")

    for line in (
        f"request   order 7, row 0, over v1 at {FIRST + timedelta(days=1):%Y-%m-%d %H:%M:%S} UTC",
        "entity    x",
        f"about     {FIRST:%Y-%m-%d %H:%M:%S} UTC",
        "feature   usage = 0.100, as the model saw it: 1",
        "feature   plan = basic, never seen in training",
        "score     0.200",
        "decision  no",
        "answered  yes, with a probability of 0.05 (exploration)",
        "label     yes",
        "release   1",
        "made by   unknown: the registry no longer has this version",
    ):
        assert line in said.splitlines(), said


def test_a_request_that_is_not_logged_is_one_sentence(tmp_path):
    (tmp_path / "project.yaml").write_text(toy.PROJECT)

    assert "the log has no request 'absent'; expected the id that an answer returned" in explained(
        tmp_path, "absent", 2
    )


def test_two_ids_with_one_hash_are_told_apart(tmp_path):
    write(tmp_path, [request(name, 0) for name in "abc"])
    assert lookup.find(tmp_path, "a") is not None
    [path] = compaction.files(tmp_path)
    table = parquet.read_table(path)
    same = pa.array([table["id_hash"][0].as_py()] * 3, pa.uint64())
    parquet.write_table(table.set_column(table.column_names.index("id_hash"), "id_hash", same), path)

    assert lookup.find(tmp_path, "a")["request_id"].to_pylist() == ["a"]
