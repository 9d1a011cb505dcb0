"""The manual builds without a warning, and its reference says what the code does."""

import re
import sys

import pytest

from components.shared.errors import StepFailed
from pipelines.manual import reference, site


def test_it_builds_and_every_page_is_reachable(tmp_path):
    first = site.build(tmp_path / "manual")

    contents = first.read_text(encoding="utf-8")
    assert "Vertex AI" in contents and "The project file" in contents
    linked = set(re.findall(r'href="([\w/.-]+\.html)"', contents))
    assert len(linked) > 40
    assert [link for link in linked if not (first.parent / link).is_file()] == []
    assert "https://" not in "".join(re.findall(r"<(?:script|link)[^>]+>", contents)), "it must open offline"


def test_a_link_that_leads_nowhere_is_an_error_that_names_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "pages", lambda: {"wrong": "# Wrong\n\n[nowhere](nowhere.md)\n"})

    with pytest.raises(StepFailed, match=r"reference/wrong.md:3: .*'nowhere.md'"):
        site.build(tmp_path / "manual")


def test_every_key_of_the_project_file_and_of_the_targets_has_a_description():
    for page in (reference.project_file(), reference.target_files()):
        rows = [line for line in page.splitlines() if line.startswith("| `")]
        assert len(rows) > 40
        assert [row for row in rows if row.split(" | ")[-1].strip(" |") == ""] == []


def test_every_verb_is_described_with_its_options():
    page = reference.command()

    assert "## perennial release approve" in page
    assert "--no-wait" in page
    assert page.count("## perennial") > 40


def test_the_python_interface_lists_its_functions_with_their_types():
    assert "load(" in reference.python() and "-> " in reference.python()
    assert sys.modules["pipelines.api"].__doc__.splitlines()[0] in reference.python()
