"""What kfp derives from a pipeline is derived once per source, and never taken from another source."""

import pytest

from components.shared import files
from pipelines.definitions import catalog, compilation, kept
from pipelines.images import environments

MODULE = "pipelines.definitions.training"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return environments.cache_folder() / "pipelines"


def refuse():
    raise AssertionError("derived again")


def test_a_value_is_derived_once(cache):
    assert kept.kept(MODULE, "x", lambda: {"a": [1]}) == {"a": [1]}
    assert kept.kept(MODULE, "x", refuse) == {"a": [1]}


def test_another_value_another_pipeline_and_one_without_a_module_are_derived(cache):
    kept.kept(MODULE, "x", lambda: 1)

    for module, what in ((MODULE, "y"), ("pipelines.definitions.materialization", "x"), (None, "x")):
        assert kept.kept(module, what, lambda: 2) == 2


def test_a_value_of_another_source_or_another_kfp_is_derived_again(cache, tmp_path, monkeypatch):
    before = kept._key(MODULE)
    monkeypatch.setattr(kept, "version", lambda package: "0")

    assert kept._key(MODULE) != before
    (tmp_path / "pipeline.py").write_text("import step\n")
    (tmp_path / "step.py").write_text("a = 1\n")
    key = kept._key("pipeline", tmp_path)
    (tmp_path / "step.py").write_text("a = 2\n")
    assert kept._key("pipeline", tmp_path) != key


@pytest.mark.parametrize("content", ["", "{", "[]", '{"value": 1}', '{"key": "another", "value": 1}'])
def test_a_broken_or_outdated_file_is_replaced(cache, content):
    path = cache / f"{MODULE}-x.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)

    assert kept.kept(MODULE, "x", lambda: 2) == 2
    assert files.read_json(path)["value"] == 2


@pytest.mark.parametrize("entry", catalog.PIPELINES.values(), ids=lambda entry: entry.name)
def test_a_kept_pipeline_is_the_compiled_one(cache, entry):
    """The first call derives it, the second one reads it."""
    assert compilation.kept_symbolic(entry) == compilation.kept_symbolic(entry) == compilation.symbolic(entry.name)
    assert entry.load.__code__.co_names[0] == entry.module
