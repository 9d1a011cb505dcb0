"""A mistake in the project file is one sentence that names the key and the way out."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared import project
from components.shared.errors import InputError
from components.shared.project import Project, Resources, Section
from pipelines.images.environments import ROOT
from pipelines.project import project_file
from pipelines.targets import model
from tests.pipelines import toy

SMALL = {
    "name": "small",
    "task": "binary",
    "entity": "id",
    "event_time": "at",
    "sources": {"rows": {"path": "rows.csv"}},
    "label": {"source": "rows", "column": "y"},
    "features": {"service": "small_v1", "columns": {"x": {"type": "numeric"}, "plan": {"type": "categorical"}}},
}


def changed(**keys: object) -> dict[str, Any]:
    return SMALL | keys


def read(folder: Path, content: object) -> Project:
    (folder / "project.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return project_file.read(folder)


def test_a_small_file_is_enough_and_the_types_hold_the_defaults(tmp_path):
    project = read(tmp_path, SMALL)

    assert project == Project.model_validate(SMALL)
    assert project.split.test == 0.2 and project.validation.drift == "warn"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(tunning={"trials": 3}), r"unknown key 'tunning'; did you mean 'tuning'"),
        (changed(tuning={"trails": 3}), r"unknown key 'trails' in 'tuning'; did you mean 'trials'"),
        (changed(tuning={"sampler": "gp"}), r"tuning.sampler is 'gp', which requires PyTorch.*'make lock STEP=tuning'"),
        (changed(tuning={"trials": -1}), r"tuning.trials: .*greater than or equal to 0, got -1"),
        (changed(sources={"rows": {"pth": "rows.csv"}}), r"unknown key 'pth' in 'sources.rows'; did you mean 'path'"),
        (changed(sources={"rows": {"path": "a", "database": "b"}}), r"exactly one of 'path' and 'database'"),
        (changed(sources={"../rows": {"path": "a"}}), r"sources"),
        (changed(name="a/b"), r"name: .*pattern"),
        (changed(entity="a/b"), r"entity: .*pattern"),
        ({k: v for k, v in SMALL.items() if k != "label"}, r"the key 'label' is missing; add it"),
        (changed(label={"source": "rowz", "column": "y"}), r"label.source is 'rowz', expected one of .*'rows'"),
        (
            changed(evaluation={"slices": ["plann"]}),
            r"slices names 'plann', which is not a feature; did you mean 'plan'",
        ),
        (
            changed(serving={"request_features": ["plann"]}),
            r"names 'plann', which is not a feature; did you mean 'plan'",
        ),
        (changed(split={"validation": 0.5, "test": 0.5}), r"leave no rows for training"),
        (changed(limits={"columns": 1}), r"lists 2 features, but limits.columns is 1"),
        (changed(label={"source": "rows", "column": "x"}), r"the label 'x' is listed as a feature"),
        (
            changed(resources={"steps": {"trainig": {}}}),
            r"names 'trainig', which is not a step; did you mean 'training'",
        ),
        (changed(resources={"default": {"memory": "2 GB"}}), r"resources.default.memory: .*pattern.*got '2 GB'"),
        (changed(task="regression", value={}), r"'value' is only valid for a binary task"),
        (changed(evaluation={"primary": "acuracy"}), r"primary is 'acuracy'; did you mean 'accuracy'"),
        (changed(task="regression", evaluation={"primary": "auc"}), r"primary is 'auc'; expected one of \['mae'"),
        (changed(gate={"floors": {"aux": 0.7}}), r"floors names 'aux', which is not measured .*did you mean 'auc'"),
        (changed(gate={"ceilings": {"auc": 0.7}}), r"'auc', of which higher is better; move it to gate.floors"),
        (changed(gate={"floors": {"ece": 0.1}}), r"'ece', of which lower is better; move it to gate.ceilings"),
        (changed(task="regression", gate={"ceilings": {"ece": 0.1}}), r"'ece', which is not measured for this task"),
        (
            changed(task="regression", evaluation={"fairness": ["plan"]}, gate={"fairness_gap": 0.1}),
            r"compares selection rates, which a regression does not have",
        ),
        (changed(split={"method": "random", "gap_days": 3}), r"gap_days is only valid for the split by time"),
        (
            changed(split={"gap_days": 0}, label={"source": "rows", "column": "y", "delay_days": 30}),
            r"gap_days is 0, but labels take 30 days .*Set it to 30 or more",
        ),
        (changed(limits={"request_rows": 2}), r"request_rows is 2, but a release sends 3 rows .*set it to 3"),
        (changed(tuning={"space": {"learnin_rate": {"low": 0.1, "high": 0.2}}}), r"did you mean 'learning_rate'"),
        (
            changed(tuning={"sampler": "grid", "space": {"l2": {"low": 0.1, "high": 0.2}}}),
            r"'l2' is a range without 'step'",
        ),
        ("name: a\nname: b\n", r"duplicate key 'name'"),
        ("name: [", r"not valid YAML"),
        ("- a\n- b\n", r"contains a list; expected a mapping"),
    ],
)
def test_each_mistake_is_named(tmp_path, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, content)

    assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="perennial init"):
        project_file.read(tmp_path)


# No deadline: the time of one example depends on what else the machine runs.
@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_yaml_at_all_makes_it_crash(content):
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.raises(InputError):
        read(Path(folder), yaml.safe_dump(content))


def test_the_reference_file_shows_the_defaults_of_what_a_step_may_take():
    lines = (ROOT / "project.yaml").read_text(encoding="utf-8").splitlines()
    first = lines.index("# resources:")
    block = itertools.takewhile(lambda line: line.startswith("#"), lines[first:])
    shown = yaml.safe_load("\n".join(line.removeprefix("# ") for line in block))["resources"]

    assert Resources(default=shown["default"]) == Resources()
    assert set(shown["default"]) == set(Resources().default.model_dump())
    assert Resources.model_validate(shown).of("tuning").timeout_s == 7200


@pytest.mark.parametrize("module", [project, model], ids=["project file", "target file"])
def test_every_key_is_described_by_a_sentence(module):
    """Editors show the descriptions of the JSON schema."""
    sections = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Section)]
    undescribed = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not (field.description or "").endswith(".")
    ]

    assert undescribed == []


@pytest.mark.parametrize(("content", "what"), [("", "has no keys"), (" 50", "is 50")])
def test_a_section_that_is_no_section_says_what_belongs_below_it(tmp_path, content, what):
    (tmp_path / "project.yaml").write_text(toy.PROJECT + f"\nretraining:{content}\n")

    expected = f"retraining {what}; expected keys below it, such as attempts, cost, every_days"
    with pytest.raises(InputError, match=expected):
        project_file.read(tmp_path)
