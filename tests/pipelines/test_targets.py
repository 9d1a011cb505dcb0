"""Target files: found by name, typed, overridden, and wrong in one sentence."""

from pathlib import Path

import pytest

from components.shared.errors import InputError
from pipelines.targets import model, reading


@pytest.mark.parametrize("name", ["laptop", "docker", "kfp", "vertex"])
def test_a_shipped_target_states_every_default_as_the_types_do(name: str, tmp_path: Path) -> None:
    target = reading.read(name, tmp_path)
    assert target.kind == name
    if not isinstance(target, model.Kfp | model.Vertex):
        assert target == type(target).model_validate(
            {"kind": name, "services": {k: v for k, v in target.services.model_dump().items()}}
            | ({"mounts": target.mounts} if isinstance(target, model.Docker) else {})
        )


def test_a_projects_own_target_goes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "laptop.yaml").write_text("kind: laptop\nservices: {registry: 'http://mlflow:5000'}\n")
    target = reading.read("laptop", tmp_path)
    assert target.services.registry == "http://mlflow:5000"


def test_folders_of_the_project_are_filled_in(tmp_path: Path) -> None:
    assert reading.read("laptop", tmp_path).services.endpoint == f"{tmp_path}/.perennial/endpoint"


def test_one_key_can_be_overridden(tmp_path: Path) -> None:
    target = reading.read("kfp", tmp_path, ["host=https://kfp.example.com", "auth.kind=token", "start_deadline_s=30"])
    assert isinstance(target, model.Kfp)
    assert (target.host, target.auth.kind, target.start_deadline_s) == ("https://kfp.example.com", "token", 30)


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("moon", [], "there is no target 'moon'; known are ['docker', 'kfp', 'laptop', 'vertex']"),
        ("moon.yaml", [], "there is no target file 'moon.yaml'"),
        ("kfp", ["hots=x"], "unknown key 'hots'; did you mean 'host'"),
        ("kfp", ["host"], "is not of the form key=value"),
        ("kfp", ["host.inner=1"], "holds a value, not keys"),
        ("kfp", ["kind=moon"], "kind is 'moon', expected one of ['docker', 'kfp', 'laptop', 'vertex']"),
        ("kfp", ["start_deadline_s=-1"], "start_deadline_s"),
    ],
)
def test_a_wrong_target_is_one_sentence(name: str, overrides: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        reading.read(name, tmp_path, overrides)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
