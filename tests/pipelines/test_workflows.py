"""The workflows run verbs that exist, actions that can't change, and nothing that a pull request wrote."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipelines.command import cli
from pipelines.images.environments import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
DOCS = ROOT / "docs" / "ci.md"
WORD = r"(?:[a-z][a-z-]*|[A-Z]+=(?:\"[^\"]*\"|[^\s\"'`]+))"
MAKE = re.compile(rf"\bmake ({WORD}(?: {WORD})*)")


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs() -> list[Any]:
    return [
        pytest.param(path, job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
    ]


def test_the_workflows_are_there():
    assert [path.stem for path in WORKFLOWS] == ["audit", "check", "images", "pipelines"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_commit_and_says_its_version(path):
    used = re.findall(r"^.*\buses: *(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)

    assert used
    for line in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) or line.startswith("./.github/"), (
            line
        )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_has_one_pin_in_all_workflows(path):
    pins = {line for other in WORKFLOWS for line in re.findall(r"uses: *(\S+@.+)", other.read_text(encoding="utf-8"))}

    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_does_not_pile_up(path):
    workflow = read(path)

    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


@pytest.mark.parametrize(("path", "job"), jobs())
def test_a_job_writes_only_what_it_is_there_for(path, job):
    writes = {right for right, level in job.get("permissions", {}).items() if level != "read"}
    allowed = {"images": {"packages"}, "pipelines": {"packages", "pull-requests"}}.get(path.stem, set())

    assert writes <= allowed and len(writes) <= 1
    if "pull-requests" in writes:
        assert not any("checkout" in step.get("uses", "") or "make" in step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize(("path", "job"), jobs())
def test_a_job_ends_and_leaves_no_token_behind(path, job):
    if "uses" in job:
        return
    assert 0 < job["timeout-minutes"] <= 120
    assert job["runs-on"] == "ubuntu-24.04"
    for step in job["steps"]:
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("path", "job"), jobs())
def test_nothing_that_others_write_is_put_into_a_script(path, job):
    for step in job.get("steps", []):
        assert "${{" not in step.get("run", ""), step["run"]
        assert "script" not in step.get("with", {})


@pytest.mark.parametrize(("path", "job"), jobs())
def test_secrets_are_given_to_single_steps(path, job):
    assert "secrets." not in str(job.get("env", "")) and job.get("secrets") != "inherit"


def test_a_pull_request_meets_no_secret():
    jobs = read(ROOT / ".github" / "workflows" / "pipelines.yaml")["jobs"]
    guarded = {name for name, job in jobs.items() if "github.event_name == 'push'" in str(job.get("if", ""))}
    secret = {name for name, job in jobs.items() if "secrets" in str(job)}

    assert secret == {"images", "upload"} and guarded == {"images"}
    assert jobs["upload"]["needs"] == "images" and "if" not in jobs["upload"]
    assert not re.search("pull_request_target|workflow_run", "".join(path.read_text() for path in WORKFLOWS))


def runs() -> list[str]:
    """List what the workflows' steps run."""
    return [
        step["run"]
        for path in WORKFLOWS
        for job in read(path)["jobs"].values()
        for step in job.get("steps", [])
        if "run" in step
    ]


def calls() -> list[list[str]]:
    """List every call of make in the workflows' steps and in the docs, as verbs and variables; values don't matter."""
    examples = re.findall(r"```\w+\n(.*?)```|`(make [^`]+)`", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    found = [call for text in [*runs(), *map("".join, examples)] for call in MAKE.findall(text)]
    words = [re.findall(WORD, call) for call in found]
    return [list(call) for call in dict.fromkeys(tuple(re.sub("=.*", "=x", word) for word in call) for call in words)]


def test_every_step_that_is_not_of_ci_itself_is_a_verb():
    others = {run.split()[0] for run in runs() if not run.startswith("make ")}

    assert others == {"echo", "cat", "gh", "go", "pip", "sudo", "terraform"}
    assert {"test", "compile", "diff-ir", "images", "push-images", "upload"} <= {
        verb for call in calls() for verb in call
    }


@pytest.mark.parametrize("call", calls(), ids=" ".join)
def test_a_verb_exists_and_calls_the_command_with_flags_that_it_has(call):
    done = subprocess.run(["make", "--dry-run", *call], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"\.venv/bin/perennial ([^&\n]+)", done.stdout)

    for arguments in map(shlex.split, commands):
        parse(cli.main, arguments)
    assert commands or call[0] in ("test", "cluster-api", "audit")


def test_every_tool_that_a_job_sets_up_has_a_version():
    steps = [step for path in WORKFLOWS for job in read(path)["jobs"].values() for step in job.get("steps", [])]
    set_up = [step for step in steps if re.search(r"/setup-\w+@", step.get("uses", ""))]

    assert {step["uses"].partition("@")[0] for step in set_up} == {"actions/setup-python", "hashicorp/setup-terraform"}
    for step in set_up:
        assert any(name.endswith("version") for name in step["with"]), step["uses"]


def test_a_push_to_a_branch_with_a_pull_request_is_tested_once():
    # YAML reads the key 'on' as true.
    triggers = [read(ROOT / ".github" / "workflows" / f"{name}.yaml")[True] for name in ("check", "pipelines")]

    assert [on["push"] for on in triggers] == [{"branches": ["main"]}] * 2
    assert all("pull_request" in on for on in triggers)


def script(job: str, start: str) -> str:
    """Return the one script of a job of pipelines.yaml that starts so."""
    steps = read(ROOT / ".github" / "workflows" / "pipelines.yaml")["jobs"][job]["steps"]
    [text] = [step["run"] for step in steps if step.get("run", "").startswith(start)]
    return text


def test_the_first_push_is_compared_with_itself_and_a_later_one_with_its_parent(tmp_path):
    written = tmp_path / "environment"
    commit = ["git", "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--allow-empty", "--message", "m"]
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for _ in range(2):
        subprocess.run(commit, cwd=tmp_path, check=True)
        environment = os.environ | {"GITHUB_ENV": str(written)}
        subprocess.run(["bash", "-e", "-c", script("compile", "echo")], cwd=tmp_path, env=environment, check=True)

    assert written.read_text() == "BASE=HEAD\nBASE=HEAD^1\n"


GH = """#!/bin/sh
# The command line of GitHub as far as the job uses it: lists comments through jq, and writes down what else is asked.
case "$*" in
*--paginate*) exec jq --raw-output "$5" < "$COMMENTS" ;;
*) echo "$*" >> "$CALLS" ;;
esac
"""


@pytest.mark.skipif(not shutil.which("jq"), reason="jq, which gh contains, is not installed")
@pytest.mark.parametrize(
    ("comments", "call"),
    [
        ([], "pr comment 7 --body-file comment.md"),
        ([("Bot", "another workflow's"), ("User", "<!-- mark --> quoted")], "pr comment 7 --body-file comment.md"),
        (
            [("Bot", "<!-- mark -->\nours"), ("Bot", "a later one")],
            "api --silent --method PATCH repos/me/churn/issues/comments/0 --field body=@comment.md",
        ),
    ],
)
def test_the_comment_job_edits_its_own_comment_and_no_other(tmp_path, comments, call):
    listed = [{"id": n, "user": {"type": kind}, "body": body} for n, (kind, body) in enumerate(comments)]
    (tmp_path / "listed.json").write_text(json.dumps(listed))
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    [own] = re.findall(r"OWN: (.+)", (ROOT / ".github" / "workflows" / "pipelines.yaml").read_text(encoding="utf-8"))
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "COMMENTS": str(tmp_path / "listed.json"),
        "CALLS": str(tmp_path / "calls"),
        "GH_REPO": "me/churn",
        "NUMBER": "7",
        "MARKER": "<!-- mark -->",
        "OWN": own,
    }
    subprocess.run(["bash", "-e", "-c", script("comment", "gh")], cwd=tmp_path, env=environment, check=True)

    assert (tmp_path / "calls").read_text() == f"{call}\n"


def parse(command: click.Command, arguments: list[str]) -> None:
    """Parse a command line as click does, without running it."""
    context = command.make_context(command.name, list(arguments))
    if isinstance(command, click.Group):
        name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name and inner
        parse(inner, rest)


def test_the_examples_of_the_docs_are_what_they_say():
    text = DOCS.read_text(encoding="utf-8")
    [gitlab] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    jobs = {name: job for name, job in yaml.safe_load(gitlab).items() if isinstance(job, dict) and "script" in job}

    assert set(jobs) == {"check", "diff", "images", "upload"}
    assert all(job["stage"] in yaml.safe_load(gitlab)["stages"] for job in jobs.values())
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (DOCS.parent / link).exists(), link


def test_the_readme_calls_functions_with_arguments_that_they_take():
    import ast
    import inspect

    from pipelines import api

    [snippet] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    tree = ast.parse(snippet.replace(", ...}", "}"))
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    functions = [c for c in called if isinstance(c.func, ast.Attribute) and ast.unparse(c.func.value) == "api"]

    assert {c.func.attr for c in functions} == {"submit", "load", "ask", "score_table"}
    for call in functions:
        inspect.signature(getattr(api, call.func.attr)).bind(*call.args, **{k.arg: k.value for k in call.keywords})
    for name in re.findall(r"run\.(\w+)", snippet):
        assert hasattr(api.Finished, name), name


def test_a_test_of_a_cluster_that_is_not_named_fails_and_lists_what_is_missing():
    environment = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "KFP_HOST")}
    command = ["make", "-o", ".venv/bin/perennial", "cluster-test"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"GATEWAY_URL": "http://g"}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "make cluster-test needs the variables KUBECONFIG KFP_HOST; docs/cluster.md" in done.stderr
