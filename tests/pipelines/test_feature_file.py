"""What the project file says and features.py contradicts is found before a run starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.images.environments import ROOT
from pipelines.project import project_file
from tests.pipelines.test_project_file import changed

FEATURES = """
from feast import Entity, FeatureService, FeatureView, Field, types
from feast.types import Float64, String

who = Entity(name="who", join_keys=["id"])
rows = FeatureView(
    name="rows",
    entities=[who],
    schema=[Field(name="x", dtype=Float64), Field("plan", types.String), Field(name="unused", dtype=String)],
)
service = FeatureService(name="small_v1", features=[rows])
"""


def read(folder: Path, python: str = FEATURES, **keys: Any) -> Project:
    (folder / "feature_repo").mkdir()
    (folder / "feature_repo" / "features.py").write_text(python)
    (folder / "project.yaml").write_text(yaml.safe_dump(changed(**keys)))
    return project_file.read(folder)


def columns(**types: str) -> dict[str, Any]:
    return {"service": "small_v1", "columns": {name: {"type": kind} for name, kind in types.items()}}


def test_a_project_whose_features_are_delivered_is_read(tmp_path):
    assert set(read(tmp_path).features.columns) == {"x", "plan"}
    assert project_file.read(ROOT).features.service == "churn_v1"


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"features": columns(xx="numeric")}, "features.columns names 'xx', which .*features.py does not deliver; did"),
        ({"features": columns(plan="numeric")}, r"features.columns.plan has the type numeric, but .* texts \(String\)"),
        ({"features": columns(plan="boolean")}, "features.columns.plan has the type boolean"),
        ({"features": columns(x="numeric") | {"service": "smal_v1"}}, "features.service is 'smal_v1', .*'small_v1'"),
        (
            {"entity": "who_id"},
            "has an entity with the join key 'id', but the project's entity is 'who_id'; expected one entity",
        ),
    ],
)
def test_each_contradiction_is_named(tmp_path, keys, sentence):
    with pytest.raises(InputError, match=f"^project.yaml: .*{sentence}"):
        read(tmp_path, **keys)


def test_a_second_entity_is_refused(tmp_path):
    with pytest.raises(InputError, match="the join key 'shop_id', but the project's entity is 'id'"):
        read(tmp_path, FEATURES + '\nshop = Entity(name="shop", join_keys=["shop_id"])\n')


@pytest.mark.parametrize(
    "python",
    ["", "not python (", FEATURES.replace('"x"', "NAME"), "fields = [Field(name=name, dtype=String) for name in 'ab']"],
)
def test_what_the_text_does_not_say_is_left_to_the_steps(tmp_path, python):
    assert list(read(tmp_path, python, features=columns(other="numeric")).features.columns) == ["other"]
