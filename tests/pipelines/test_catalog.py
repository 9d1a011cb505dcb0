"""A pipeline is found by its entry, and adding one takes a function and an entry."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.shared.errors import InputError
from pipelines import api, runs
from pipelines.command import cli
from pipelines.definitions import catalog, compilation
from pipelines.definitions.catalog import RunContext
from pipelines.images.environments import ROOT
from tests.pipelines import toy

CONTEXT = RunContext(
    **{name: name for name in RunContext.__dataclass_fields__ if name not in ("code", "seed", "most_rows")},
    code={},
    seed=7,
    most_rows=0,
)


def test_the_steps_are_in_the_order_of_the_source():
    assert catalog.entry("training").steps == (
        "ingestion", "champion", "data_validation", "feature_retrieval", "split", "tuning", "training", "evaluation",
        "gate", "registration", "deployment", "rejection",
    )  # fmt: skip
    assert catalog.entry("materialization").steps == ("ingestion", "materialization")


@pytest.mark.parametrize("entry", catalog.PIPELINES.values(), ids=list(catalog.PIPELINES))
def test_a_context_fills_every_parameter_that_a_pipeline_requires(entry):
    inputs = entry.definition.component_spec.inputs
    required = {name for name, declared in inputs.items() if not declared.optional}

    assert required <= set(entry.arguments(CONTEXT)) <= set(inputs)


@pytest.mark.parametrize("entry", catalog.PIPELINES.values(), ids=list(catalog.PIPELINES))
def test_an_entry_names_steps_and_sections_that_exist(entry):
    sections = {path.name.split(".")[0] for path in (ROOT / "pipelines/runs/report/sections").glob("*.html.j2")}

    assert set(entry.endings) <= set(entry.steps)
    assert set(entry.sections) <= sections
    assert compilation.images_of(compilation.symbolic(entry.name)) == sorted(entry.steps)


@pytest.mark.parametrize("name", catalog.PIPELINES)
def test_a_condition_is_on_what_a_step_returns(name):
    """kfp's local runner finds no other output of a step: such a condition would be false, without an error."""
    conditions = re.findall(r"condition: .*pipelinechannel--([\w-]+)", compilation.as_text(compilation.symbolic(name)))

    assert all(condition.endswith("-Output") for condition in conditions)
    assert len(conditions) == {"training": 2, "loop": 3}.get(name, 0)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({"rejection": "done", "deployment": "skipped"}, runs.REJECTED),
        ({"rejection": "skipped", "deployment": "cached"}, runs.OK),
        ({"rejection": "skipped", "deployment": "failed"}, None),
    ],
)
def test_the_steps_that_finished_say_what_a_run_ended_with(states, code):
    assert catalog.entry("training").exit_code(states) == code


def test_a_loop_that_decided_to_retrain_has_not_ended_with_its_decision():
    """Whatever stops the run in between, nothing was trained: that is no success."""
    loop, decided = catalog.entry("loop"), {"decision": "done", "ingestion": "skipped", "deployment": "skipped"}

    assert loop.exit_code(decided, {"decision.Output": True}) is None
    assert loop.exit_code(decided, {"decision.Output": False}) == runs.OK
    assert loop.exit_code(decided | {"deployment": "done"}, {"decision.Output": True}) == runs.OK
    assert loop.exit_code(decided | {"rejection": "done"}, {"decision.Output": True}) == runs.REJECTED


def test_a_pipeline_that_does_not_exist_is_one_sentence():
    with pytest.raises(
        InputError,
        match=r"there is no pipeline 'moon'; expected one of \['batch-scoring', 'cadence', 'loop', 'materialization', ",
    ):
        catalog.entry("moon")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setitem(catalog.PIPELINES, "toy", toy.ENTRY)
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    (tmp_path / "rows.csv").write_text("id,at,x,y\n1,2024-01-01,0.5,0\n")
    return tmp_path


def perennial(*arguments: str) -> str:
    done = CliRunner().invoke(cli.main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_an_added_pipeline_runs_and_is_listed_shown_and_reported(project):
    run = api.submit(project, pipeline="toy", seed=41)
    at = ("--target", "laptop", "--project", str(project))

    assert (run.state, run.record.pipeline) == ("finished", "toy")
    assert run.record.outputs["gate.Output"] == 42
    page = run.page.read_text()
    assert 'id="steps"' in page and 'id="gate"' not in page
    assert re.search(rf"{run.record.id} +small-toy +finished", perennial("runs", *at))
    assert re.search(r"^gate +done", perennial("logs", run.record.id, *at), re.MULTILINE)
    assert "the seed is 41" in perennial("logs", run.record.id, "gate", *at)
    assert "toy" in perennial("status", *at)


def test_an_added_pipeline_compiles_for_every_target(project):
    from pipelines.targets.opening import BACKENDS, open_backend

    for kind in BACKENDS:
        text = open_backend(kind, project).compile(catalog.entry("toy"))
        assert re.search(r"image: .*gate[:@]", text), kind
