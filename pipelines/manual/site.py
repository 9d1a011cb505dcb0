"""Build the site with Sphinx, in the virtualenv of its own lock, from the pages that are under version control."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from components.shared.errors import StepFailed
from pipelines.images import environments
from pipelines.images.environments import ROOT
from pipelines.manual import reference

SOURCE = ROOT / "docs" / "site"
_LINK = re.compile(r"\]\(([^)\s#]+)")
_LEFT_OUT = re.compile(r"tests/|notebooks/|changelog\.d/(?!README)")


def build(target: Path) -> Path:
    """Build the manual; a link that leads nowhere is an error.

    Args:
        target: The folder of the site; replaced if it exists.

    Returns:
        Its first page.

    Raises:
        StepFailed: If Sphinx warns of anything.
    """
    python = environments.virtualenv(
        SOURCE / "requirements.txt", announce=lambda name: print(f"installing {name}", flush=True), name="Sphinx"
    )
    with tempfile.TemporaryDirectory() as scratch:
        source, html = Path(scratch) / "source", Path(scratch) / "html"
        _stage(source)
        command = [str(python), "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
        done = subprocess.run([*command, str(source), str(html)], capture_output=True, text=True)
        if done.returncode:
            warnings = done.stderr.replace(f"{source}/", "").strip()
            raise StepFailed(f"the manual has broken links or markup; correct the pages:\n{warnings}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(html, target, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    return target / "index.html"


def _stage(source: Path) -> None:
    """Copy the pages and what they link to, and write the reference pages and the table of contents."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pages = [name for name in listed if name.endswith(".md") and not _LEFT_OUT.match(name)]
    for name in pages:
        _copy(ROOT / name, source / name)
        for link in _LINK.findall((ROOT / name).read_text(encoding="utf-8")):
            linked = (ROOT / name).parent / link
            if "://" not in link and linked.is_file() and linked.suffix != ".md":
                _copy(linked, source / linked.resolve().relative_to(ROOT))
    for name, text in reference.pages().items():
        (source / "reference").mkdir(exist_ok=True)
        (source / "reference" / f"{name}.md").write_text(text, encoding="utf-8")
    shutil.copy(SOURCE / "conf.py", source / "conf.py")
    (source / "index.md").write_text(_contents(pages), encoding="utf-8")


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _contents(pages: list[str]) -> str:
    """Return the first page: what there is, in the order in which the manual's index names it."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    order = [(ROOT / "docs" / link).resolve() for link in _LINK.findall(index) if link.endswith(".md")]
    ordered = sorted(pages, key=lambda name: order.index(ROOT / name) if ROOT / name in order else len(order))
    parts = {
        "Start": ["README.md", "docs/index.md"],
        "Manual": [name for name in ordered if name.startswith("docs/") and name != "docs/index.md"],
        "Reference": [f"reference/{name}.md" for name in reference.pages()],
        "Steps and parts": [name for name in ordered if "/" in name and not name.startswith(("docs/", "changelog.d/"))],
        "The project": ["CONTRIBUTING.md", "CHANGELOG.md", "changelog.d/README.md"],
    }
    trees = (
        f"```{{toctree}}\n:caption: {part}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"
        for part, names in parts.items()
    )
    return "# Perennial\n\nTurns a table into a served model, and keeps it alive in production.\n\n" + "\n".join(trees)


def _tree(caption: str, names: list[str]) -> str:
    return "\n".join(["```{toctree}", f":caption: {caption}", ":maxdepth: 1", "", *names, "```", ""])
