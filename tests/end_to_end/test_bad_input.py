"""Bad input is one sentence and exit code 2, and leaves nothing half written."""

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.command import PERENNIAL, edit, perennial, records, write_table


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_table(folder / "vans.csv", rows=120)
    perennial("init", "vans.csv", "--label", "Churn", "--entity", "customerID", cwd=folder)
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", f"{template}/.", str(tmp_path)], check=True)
    return tmp_path


def table(project: Path) -> list[str]:
    return (project / "vans.csv").read_text().splitlines()


def write(project: Path, lines: list[str]) -> None:
    (project / "vans.csv").write_text("\n".join(lines) + "\n")


def missing_file(project: Path) -> None:
    (project / "vans.csv").unlink()


def empty_table(project: Path) -> None:
    write(project, table(project)[:1])


def missing_label(project: Path) -> None:
    lines = table(project)
    write(project, [lines[0], lines[1].rpartition(",")[0] + ",", *lines[2:]])


def unknown_label(project: Path) -> None:
    edit(project, label={"column": "Chrn"})


def not_utf8(project: Path) -> None:
    (project / "vans.csv").write_bytes((project / "vans.csv").read_bytes().replace("ü".encode(), b"\xfc"))


def too_wide(project: Path) -> None:
    edit(project, limits={"columns": 6})


def misspelt_key(project: Path) -> None:
    edit(project, tunning={"trials": 1})


def two_labels(project: Path) -> None:
    lines = table(project)
    start, _, answer = lines[1].rpartition(",")
    twin = f"{start},{'No' if answer == 'Yes' else 'Yes'}"
    write(project, [*lines, twin])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing_file, "vans.csv"),
        (empty_table, "no rows|empty"),
        (missing_label, "1 .*label|label.* 1 "),
        (unknown_label, "Chrn.*Churn"),
        (not_utf8, "UTF-8"),
        (too_wide, "limits.columns"),
        (misspelt_key, "tunning.*tuning"),
        (two_labels, "two|different labels|both"),
    ],
)
def test_each_is_a_sentence_and_exit_code_2(project, spoil, sentence):
    import re

    spoil(project)
    done = perennial("run", cwd=project, expect=2)
    said = done.stdout + done.stderr

    assert re.search(sentence, said, re.IGNORECASE), said
    assert "Traceback" not in said
    assert all(record["exit_code"] == 2 for record in records(project))


def test_a_time_that_does_not_parse_is_named(tmp_path):
    lines = ["id,at,x,y", *(f"{i},2024-01-{1 + i % 28:02d},{i % 50},{i % 2}" for i in range(200))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    perennial("init", "t.csv", "--label", "y", "--entity", "id", "--time", "at", "--out", ".", cwd=tmp_path)
    (tmp_path / "t.csv").write_text("\n".join([*lines, "200,yesterday,3,1"]) + "\n")

    done = perennial("run", cwd=tmp_path, expect=2)
    assert "yesterday" in done.stdout + done.stderr


def test_a_command_beside_a_running_one_names_it_and_leaves_or_waits_as_asked(project):
    with subprocess.Popen([str(PERENNIAL), "run"], cwd=project, stdout=subprocess.PIPE, text=True) as first:
        note = project / ".perennial/lock.json"
        while not note.exists():
            assert first.poll() is None, first.stdout and first.stdout.read()
        second = perennial("run", cwd=project, expect=2)
        with subprocess.Popen([str(PERENNIAL), "gc", "--wait"], cwd=project, stdout=subprocess.PIPE) as third:
            with pytest.raises(subprocess.TimeoutExpired):
                third.wait(5)
            first.terminate()
            first.wait(60)
            assert third.wait(60) == 0

    assert str(first.pid) in second.stderr and "--wait" in second.stderr
    assert first.returncode == 130


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path):
    done = perennial("run", cwd=tmp_path, expect=2)

    assert "perennial init" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_released_is_said_by_predict(project):
    done = perennial("predict", "{}", cwd=project, expect=2)

    assert "perennial run" in done.stderr
