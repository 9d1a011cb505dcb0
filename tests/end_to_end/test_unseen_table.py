"""A table that the project has never seen becomes a served model without editing a file."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.command import perennial, records, write_table


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vans")
    write_table(folder / "vans.csv")
    perennial("init", "vans.csv", "--label", "returned late", "--entity", "van no", "--out", ".", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def released(project: Path) -> Path:
    perennial("run", cwd=project)
    return project


def test_the_run_ends_with_the_headline_metrics_and_their_intervals(project):
    said = perennial("run", cwd=project).stdout

    assert "auc" in said and "95% intervals" in said
    assert "version 1" in said


def test_a_second_run_has_nothing_to_do(released):
    said = perennial("run", cwd=released).stdout
    last = records(released)[-1]

    assert "nothing to do" in said
    assert {step["name"] for step in last["steps"] if step["cached"]} >= {"ingestion", "split", "tuning", "training"}
    assert "version 2" not in perennial("status", cwd=released).stdout


def test_a_row_is_answered_and_what_was_never_seen_is_flagged(released):
    row = {"Größe": "S", "km driven": 390, "price per day": None, "driver smokes": "Yes", "depot": "atlantis"}
    sample = json.loads(perennial("predict", "--sample", cwd=released).stdout)
    row = sample_row(released) | {"depot": "atlantis"}
    answer = json.loads(perennial("predict", json.dumps(row), cwd=released).stdout)

    assert 0 <= sample["predictions"][0]["score"] <= 1
    assert answer["predictions"][0]["out_of_vocabulary"] == ["depot"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"depot": 3}, "depot"),
        ({"km driven": "far"}, "km driven"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_row_is_refused_by_a_sentence_that_names_the_field(released, change, sentence):
    done = perennial("predict", json.dumps(sample_row(released) | change), cwd=released, expect=2)

    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_report_opens_offline(released):
    record = records(released)[0]
    page = (Path(record["folder"]) / "report.html").read_text()

    assert "<svg" in page and 'src="http' not in page and 'href="http' not in page.replace("http://www.w3.org", "")


def test_collecting_garbage_keeps_what_the_release_needs(released):
    perennial("gc", "--keep", "0", cwd=released)

    left = records(released)
    assert len(left) == 1 and left[0]["outputs"]["deployment.Output"] == "released"
    perennial("predict", "--sample", cwd=released)
    perennial("run", cwd=released)


def sample_row(project: Path) -> dict:
    package = next(r["artifacts"]["training.model"] for r in records(project) if "training.model" in r["artifacts"])
    return json.loads((Path(package) / "sample.json").read_text())["rows"][0]
