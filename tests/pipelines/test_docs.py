"""The documentation names files, headings and verbs that exist."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from pipelines.command.cli import main
from pipelines.images.environments import ROOT

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
PAGES = [ROOT / name for name in TRACKED if name.endswith(".md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE_VERBS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_verb_exists(page):
    verbs = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))

    assert verbs <= MAKE_VERBS


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of every ``perennial`` command on a page, in code blocks and in text."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.findall(r"\bperennial ([a-z][^|\n]*)", block)]
    inline = re.findall(
        r"(?<!`)`perennial ([a-z][^`]*)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    # What is optional in a synopsis is given; what a comment says is not part of a command.
    return [shlex.split(re.sub(r"[\[\]]|\.\.\.", "", line), comments=True) for line in (*lines, *inline)]


def documented(page: Path) -> list[tuple[str, ...]]:
    return sorted({tuple(arguments) for arguments in commands(page)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_documented_command_has_verbs_and_options_that_exist(page):
    wrong = []
    for arguments in documented(page):
        command: click.Command | None = main
        rest = list(arguments)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            command = command.get_command(click.Context(command), rest.pop(0))
        if command is None:
            wrong.append(arguments)
            continue
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {part.partition("=")[0] for part in rest if part.startswith("--")}
        if given - options - {"--help"}:
            wrong.append(arguments)

    assert wrong == []


def test_the_pages_document_dozens_of_commands():
    assert len({arguments for page in PAGES for arguments in documented(page)}) > 30


def test_every_page_of_the_manual_is_in_its_index():
    listed = {link.partition("#")[0] for link in LINK.findall((ROOT / "docs" / "index.md").read_text())}

    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= listed


def test_every_step_is_in_the_index_of_the_manual():
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    readmes = {f"../{name}" for name in TRACKED if re.fullmatch(r"components/\w+/README\.md", name)}

    assert len(readmes) > 20
    assert readmes - listed == set()


def test_the_architecture_lists_every_folder_of_the_code_and_of_infra():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w/]+)/` \| \S", page, re.MULTILINE)
    code = r"(?:components|pipelines|serving)/(?:(?:shared|targets)/)?\w+(?=/\w+\.py$)"
    folders = {match[0] for name in TRACKED if (match := re.match(rf"{code}|infra/\w+(?=/)", name))}

    assert sorted(listed) == sorted(folders)


@pytest.mark.parametrize("fragment", sorted((ROOT / "changelog.d").iterdir()), ids=lambda path: path.name)
def test_a_news_fragment_has_a_kind_that_the_changelog_lists(fragment):
    assert fragment.name == "README.md" or re.fullmatch(r"[a-z-]+\.(added|changed|fixed|removed)\.md", fragment.name)


def test_the_license_is_the_one_that_the_package_declares():
    assert "license = Apache-2.0" in (ROOT / "setup.cfg").read_text()
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
