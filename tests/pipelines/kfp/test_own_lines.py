"""A step's log is shown without what KFP prints around it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines import runs
from pipelines.command import cli
from pipelines.runs.own_lines import own_lines

RECORDINGS = Path(__file__).parent / "recordings"


def recorded(name: str) -> str:
    """Return the log of the step in a recording."""
    return next(
        asked["body"] for asked in json.loads((RECORDINGS / name).read_text()) if asked["path"].endswith("/log")
    )


def test_of_a_step_on_a_cluster_its_own_line_is_left():
    log = recorded("runs-and-logs-show-what-a-run-left.json")

    assert log.count("\n") > 50
    assert own_lines(log) == "ingested well\n"


def test_a_traceback_is_the_steps_own():
    own = own_lines(recorded("an-exception-ends-with-its-code-and-its-last-line-bug.json"))

    assert own.startswith("Traceback (most recent call last):\n")
    assert own.rstrip().endswith("IndexError: list index out of range")


@pytest.mark.parametrize("own", ['{\n  "a": 1\n}\n', "[1] not KFP\n{\n}\n", "I am a line\n", "F1 score 0.9\n"])
def test_what_a_step_prints_as_json_or_alike_is_left(own):
    around = "I1121 05:49:46.560067      15 main.go:67] Setting log level to: '1'\n"

    assert own_lines(f"{around}{own}{around}") == own


AROUND = "I1121 05:49:46.5 15 main.go:67] begins\nF1121 05:49:46.6 15 main.go:59] failed to start\n"


@pytest.mark.parametrize(
    ("state", "arguments", "shown"),
    [
        ("done", [], "the step gate printed nothing of its own; --all shows what KFP printed around it.\n"),
        ("done", ["--all"], AROUND),
        ("failed", [], AROUND),
    ],
)
def test_a_log_without_lines_of_the_step_is_shown_whole_only_where_it_failed(tmp_path, state, arguments, shown):
    (tmp_path / "project.yaml").write_text("name: small\n")
    run = runs.new("small", "training", ["gate"], tmp_path / ".perennial" / "runs", datetime(2026, 1, 1, tzinfo=UTC))
    log = run.folder / "logs" / "gate.log"
    log.write_text(AROUND)
    run.step("gate").state, run.step("gate").log = state, str(log)
    runs.end(run, runs.OK, None)

    done = CliRunner().invoke(cli.main, ["logs", run.id, "gate", *arguments, "--project", str(tmp_path)])

    assert (done.exit_code, done.output) == (0, shown)
