"""The benchmark runs the parts that are asked for, and reports a failure instead of measuring nothing."""

import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from components.shared.errors import ExitCode, InputError, StepFailed
from pipelines.bench import __main__ as bench
from pipelines.bench import cadence, large_table, memory, page, repeats
from pipelines.bench.parts import PARTS, Workspace
from pipelines.project import project_file


def test_an_unknown_part_is_bad_input_and_names_the_parts(capsys):
    code = bench.main(["servign"])

    assert code == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.startswith("perennial: the benchmark has no part 'servign'; expected one of ['")


def test_a_long_part_runs_only_by_name():
    long = {name for name, part in PARTS.items() if part.long}

    assert long and set(bench.selected([])) == set(PARTS) - long
    assert set(bench.selected([*long])) == long


def test_a_measurement_that_fails_ends_the_benchmark(tmp_path):
    """The command's virtualenv lacks what validation measures with, so the process fails."""
    with pytest.raises(StepFailed, match="the measurement 'validation' ended with exit code 1"):
        Workspace(tmp_path).run(sys.executable, "validation", "validation")


def test_nothing_costs_less_than_hindsight_and_training_every_week_costs_most_where_nothing_changes():
    costs = cadence.costs(cadence.simulated(cadence.STREAMS["none"], seed=3), seed=3)

    assert costs["hindsight"] == min(costs.values())
    assert costs["weekly"] == max(costs.values())
    assert costs["recommended"] <= costs["monthly"]


def test_the_peak_of_a_step_is_that_of_its_past_and_other_processes_are_not_its_own():
    code = "held = bytearray(200 * 2**20); del held; print(flush=True); input()"
    step = [sys.executable, "-c", code, "--function_to_execute", "training"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(step, **pipes) as process, subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        process.stdout.readline()
        [(worker, kib)] = memory.step_processes(os.getpid())
        process.communicate(b"\n")
        other.communicate(b"\n")

    assert (worker.step, worker.pid) == ("training", process.pid)
    assert 200 * 2**10 < kib < 300 * 2**10


def test_the_large_table_has_the_rows_and_features_of_its_project(tmp_path):
    described = project_file.read(large_table.write(tmp_path / "large", 2000))
    table = pq.read_table(tmp_path / "large" / "rows.parquet")

    assert table.num_rows == 2000
    assert set(described.features.columns) < set(table.column_names)
    assert set(table["answer"].to_pylist()) == {"yes", "no"}


PAGE = "before\n<!-- bench one -->\nold\n<!-- end -->\n<!-- bench two -->\nstays\n<!-- end -->\nafter\n"


def test_a_part_replaces_its_own_table_of_the_page_and_nothing_else():
    rows = [("a | b", "1 s", "other: 2 s", "0.5")]

    once = page.updated(PAGE, "one", rows, "Less is better.", "today")
    twice = page.updated(once, "one", rows, "Less is better.", "today")

    assert once == twice
    assert r"| a \| b | 1 s | other: 2 s | 0.5 |" in once and "Less is better. Measured today." in once
    assert once.startswith("before\n<!-- bench one -->\n") and "old" not in once
    assert once.endswith("<!-- end -->\n<!-- bench two -->\nstays\n<!-- end -->\nafter\n")
    with pytest.raises(InputError, match="the page has 0 places for the part 'three'"):
        page.updated(PAGE, "three", rows, "", "")
    with pytest.raises(InputError, match="the page has 0 places for the part 'one'"):
        page.updated(PAGE.replace("<!-- end -->\n<!-- bench two", "<!-- bench two"), "one", rows, "", "")


def test_the_page_has_a_place_for_every_part_that_is_not_described_elsewhere():
    text = bench.PAGE.read_text()
    elsewhere = {"memory", "drift", "detection", "monitoring", "canary", "ab", "cadence"}

    assert {name for name in PARTS if not page.has(text, name)} == elsewhere
    assert all(part.reading.endswith(".") for part in PARTS.values())


def test_both_sides_are_timed_in_turns_and_their_first_calls_are_not():
    called: list[tuple[str, int]] = []

    measured = repeats.in_turns({name: lambda turn, name=name: called.append((name, turn)) for name in "ab"}, times=2)

    assert called == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert {name: len(values) for name, values in measured.items()} == {"a": 2, "b": 2}
