"""A reviewer reads in one table what a change does to the compiled pipelines, and nothing else."""

import subprocess
from pathlib import Path

import pytest
from kfp import dsl

from components.champion.component import champion
from components.ingestion.component import ingestion
from components.shared.errors import InputError
from pipelines.definitions import compilation, ir_diff
from pipelines.images import environments
from tests.end_to_end.command import perennial

GOLDEN = "pipelines/definitions/compiled/training.yaml"


@pytest.fixture(scope="module")
def before() -> str:
    @dsl.pipeline(name="small")
    def small(project_uri: str, registry_uri: str, seed: int = 7) -> None:
        project = dsl.importer(artifact_uri=project_uri, artifact_class=dsl.Artifact)
        first = champion(project=project.output, registry_uri=registry_uri, registry_state="")
        with dsl.If(registry_uri == "here", name="asked"):
            champion(project=project.output, registry_uri=registry_uri, registry_state="").set_display_name(
                "again"
            ).after(first)

    return compiled(small)


@pytest.fixture(scope="module")
def after() -> str:
    @dsl.pipeline(name="small")
    def small(project_uri: str, registry_uri: str, source_root: str, seed: int = 8) -> None:
        project = dsl.importer(artifact_uri=project_uri, artifact_class=dsl.Artifact)
        ingestion(project=project.output, source_root=source_root, source_hash="0")
        first = champion(project=project.output, registry_uri=registry_uri, registry_state="").set_memory_limit("2G")
        # A condition before the other one: kfp gives that another number.
        with dsl.If(source_root == "there", name="new"):
            champion(project=project.output, registry_uri=registry_uri, registry_state="").set_display_name("other")
        with dsl.If(registry_uri == "there", name="asked"):
            champion(project=project.output, registry_uri=registry_uri, registry_state="").set_display_name(
                "again"
            ).after(first)

    return compiled(small)


def compiled(definition: object) -> str:
    return compilation.as_text(compilation._compile(definition))


def test_two_real_pipelines_differ_in_what_was_changed_and_nothing_else(before, after):
    said = {(c.where, c.what): (c.before, c.after) for c in ir_diff.compare(before, after)}

    assert said.pop(("pipeline", "parameter seed.defaultValue")) == ("7.0", "8.0")
    assert said.pop(("pipeline", "parameter source_root.parameterType")) == (None, "STRING")
    assert said.pop(("ingestion", "step")) == (None, "")
    assert said.pop(("new", "step")) == said.pop(("new / other", "step")) == (None, "")
    assert said.pop(("champion", "resources.resourceMemoryLimit")) == (None, "2G")
    assert said.pop(("champion", "resources.memoryLimit")) == (None, "2.0")
    old, new = said.pop(("asked", "condition"))
    assert "'here'" in old and "'there'" in new
    assert said == {}


def test_a_pipeline_does_not_differ_from_itself(before):
    assert ir_diff.compare(before, before) == []


def test_what_only_a_cluster_knows_stands_beside_its_step(before):
    platform = (
        "---\nplatforms: {kubernetes: {deploymentSpec: {executors: {exec-champion: {activeDeadlineSeconds: 60}}}}}\n"
    )
    [change] = ir_diff.compare(before, before + platform)

    assert change == ir_diff.Change("champion", "kubernetes.activeDeadlineSeconds", None, "60")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    file = tmp_path / GOLDEN
    file.parent.mkdir(parents=True)
    file.write_text((environments.ROOT / GOLDEN).read_text())
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "first")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def test_the_page_compares_with_a_revision_of_git(repository):
    text = (repository / GOLDEN).read_text()
    page = ir_diff.since("HEAD", repository, {GOLDEN: text.replace("perennial/champion", "perennial/other")})

    assert page.startswith("### Compiled pipelines against `HEAD` (")
    assert "**training**: 1 change in 1 step." in page
    assert "| `champion` | `image` | `perennial/champion` | `perennial/other` |" in page
    assert "\n-        image: perennial/champion\n+        image: perennial/other\n" in page


def test_no_change_is_said(repository):
    page = ir_diff.since("HEAD", repository, {GOLDEN: (repository / GOLDEN).read_text()})

    assert page.endswith("\n\nNo change.\n")


def test_pipelines_come_and_go(repository):
    page = ir_diff.since("HEAD", repository, {"pipelines/definitions/compiled/monitoring.yaml": "root: {}"})

    assert "**monitoring**: the pipeline is new." in page and "**training**: the pipeline is gone." in page


def test_code_that_changed_is_shown_where_it_differs(repository):
    text = (repository / GOLDEN).read_text()
    page = ir_diff.since("HEAD", repository, {GOLDEN: text.replace('or \\"none\\"', 'or \\"nothing\\"')})
    [row] = [line for line in page.splitlines() if line.startswith("| `champion` | `command`")]

    assert "none" in row and "nothing" in row


def test_what_a_pipeline_says_can_not_leave_its_cell_or_fence(repository):
    text = (repository / GOLDEN).read_text()
    page = ir_diff.since("HEAD", repository, {GOLDEN: text.replace("perennial/champion", "'a`@x | b ````'")})
    [row] = [line for line in page.splitlines() if line.startswith("| `champion` | `image`")]

    assert row.endswith("| `a'@x \\| b ''''` |")
    assert "\n`````diff\n" in page and "\n`````\n" in page


def test_a_page_too_long_for_a_comment_says_so(repository):
    text = (repository / GOLDEN).read_text()
    page = ir_diff.since("HEAD", repository, {GOLDEN: text + "".join(f"# {i:060}\n" for i in range(2000))})

    assert len(page) < 65_536 and "make diff-ir" in page


def test_an_unknown_revision_is_a_sentence(repository):
    with pytest.raises(InputError, match=r"'main~99'.*fetch it first"):
        ir_diff.since("main~99", repository, {})


def test_a_revision_is_never_an_option(repository):
    with pytest.raises(InputError, match="no revision '--help'"):
        ir_diff.since("--help", repository, {})


@pytest.mark.skipif(not (environments.ROOT / ".git").exists(), reason="this is no clone: there is no git history")
def test_the_verb_compiles_what_is_here_and_writes_the_page(tmp_path):
    git = ["git", "-C", str(environments.ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    written = tmp_path / "ir.md"
    perennial("diff", commit, "--out", written, cwd=tmp_path)

    assert written.read_text().startswith(f"### Compiled pipelines against `{commit}` (")
    assert perennial("diff", commit, cwd=tmp_path).stdout == written.read_text()
    assert "'nowhere'" in perennial("diff", "nowhere", cwd=tmp_path, expect=2).stderr
