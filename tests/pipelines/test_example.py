"""The shipped project file is the reference: it parses, names every key, and shows each default as it is."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from components.shared import project as types
from components.shared.project import Project
from pipelines.project import project_file

TEXT = (Path(__file__).parents[2] / "project.yaml").read_text(encoding="utf-8")
SECTIONS = [
    "label",
    "split",
    "tuning",
    "training",
    "value",
    "evaluation",
    "gate",
    "validation",
    "release",
    "monitoring",
    "retraining",
    "serving",
    "limits",
]
KINDS = [kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, types.Section)]


def shown_as_comment(section: str) -> dict[str, Any]:
    """Read the keys of a section that stand in the file as comments."""
    commented = r"^# (?=(limits|resources|serving|monitoring|retraining):|  [a-z_]+: )|(?<=^  )# (?=[a-z_]+: )"
    uncommented = re.sub(commented, "", TEXT[TEXT.index("\nlabel:") :], flags=re.M)
    plain, full = yaml.safe_load(TEXT).get(section, {}), yaml.safe_load(uncommented)[section]
    return {key: value for key, value in full.items() if key not in plain}


def test_the_file_is_a_project():
    assert Project.model_validate(yaml.safe_load(TEXT)).name == "churn"


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_named(kind):
    assert [key for key in kind.model_fields if not re.search(rf"\b{key}:(\s|$)", TEXT)] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_a_key_in_a_comment_shows_its_default(section):
    annotation = Project.model_fields[section].annotation
    kind = next(kind for kind in KINDS if kind in (annotation, *get_args(annotation)))
    shown = shown_as_comment(section)

    assert shown
    defaults = {key: kind.model_fields[key].get_default(call_default_factory=True) for key in shown}
    assert shown == {key: plain(value) for key, value in defaults.items()}


def plain(value: Any) -> Any:
    """Return a default as YAML has it."""
    if isinstance(value, types.Section):
        return {key: plain(inner) for key, inner in vars(value).items()}
    return list(value) if isinstance(value, tuple) else value


def test_the_search_space_is_the_default():
    assert Project.model_validate(yaml.safe_load(TEXT)).tuning.space == types.Tuning().space


def test_the_schema_that_editors_use_is_that_of_the_types():
    schema = Path(__file__).parents[2] / "docs" / "project.schema.json"

    assert schema.read_text(encoding="utf-8") == project_file.json_schema(), (
        "run: perennial schema > docs/project.schema.json"
    )
