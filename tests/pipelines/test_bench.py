"""The benchmark runs the parts that are asked for, and reports a failure instead of measuring nothing."""

import sys

import pytest

from components.shared.errors import ExitCode, StepFailed
from pipelines.bench import __main__ as bench
from pipelines.bench import cadence
from pipelines.bench.parts import PARTS, Workspace


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
