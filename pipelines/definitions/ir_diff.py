"""What changed in the compiled pipelines since a git revision, as Markdown that a reviewer reads in a minute."""

import difflib
import json
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from pipelines.definitions import compilation
from pipelines.images import environments

PIPELINE = "pipeline"
# GitHub refuses a comment above 65,536 characters; GitLab takes more.
MAX_CHARACTERS = 60_000
_MAX_CELL = 120
# How the keys of an IR read in a table: what repeats in each of them is left out.
_READABLE = (
    (re.compile(r"^inputDefinitions\.(parameter|artifact)s\."), r"\1 "),
    (re.compile(r"^outputDefinitions\.(?:parameter|artifact)s\."), "output "),
    (re.compile(r"^inputs\.(?:parameter|artifact)s\."), "input "),
    (re.compile(r"^container\.(?=image$|command$|args$|env|resources)"), ""),
    (re.compile(r"^triggerPolicy\.condition$"), "condition"),
    (re.compile(r"^dependentTasks$"), "runs after"),
)

Facts = dict[tuple[str, str], str]
"""What an IR says: (step or ``pipeline``, key) -> value. A step in a condition is ``condition / step``."""


@dataclass(frozen=True)
class Change:
    """One value that differs; None where that side has no such key."""

    where: str
    what: str
    before: str | None
    after: str | None


def since(
    reference: str,
    root: Path = environments.ROOT,
    current: Mapping[str, str] | None = None,
    pipelines: Collection[str] = (),
) -> str:
    """Compare the compiled pipelines with those that a git revision holds.

    Args:
        reference: A commit, branch or tag.
        root: The repository.
        current: Path within the repository -> IR; None compiles the project's pipelines now.
        pipelines: Names of those to compare; none means all, also those that exist no more.

    Returns:
        Markdown; its first line says what was compared.

    Raises:
        InputError: If there is no git, no repository or no such revision.
    """
    folder = compilation.GOLDEN.relative_to(environments.ROOT).as_posix()
    if current is None:
        golden = compilation.golden().items()
        current = {
            path.relative_to(root).as_posix(): text for path, text in golden if path.is_relative_to(compilation.GOLDEN)
        }
    commit = _git(root, reference, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    listed = _git(root, reference, "ls-tree", "-r", "--name-only", commit, "--", f"{folder}/").splitlines()
    former = {path: _git(root, reference, "show", f"{commit}:{path}", strip=False) for path in listed}
    title = f"### Compiled pipelines against {_code(reference)} ({commit[:12]})"
    chosen = [path for path in sorted({*former, *current}) if not pipelines or Path(path).stem in pipelines]
    parts = [_section(path, former.get(path), current.get(path)) for path in chosen]
    return _fitted(title, [part for part in parts if part] or ["No change."])


def compare(before: str, after: str) -> list[Change]:
    """List what differs between two IRs; a step that came or went is one change.

    >>> old = "root: {dag: {tasks: {}}, inputDefinitions: {parameters: {seed: {defaultValue: 7}}}}"
    >>> compare(old, old.replace("7", "8"))
    [Change(where='pipeline', what='parameter seed.defaultValue', before='7', after='8')]
    """
    old, new = facts(before), facts(after)
    old_steps, new_steps = {where for where, _ in old}, {where for where, _ in new}
    changes = [Change(where, "step", "", None) for where in sorted(old_steps - new_steps)]
    changes += [Change(where, "step", None, "") for where in sorted(new_steps - old_steps)]
    for where, what in sorted({*old, *new}):
        if where in old_steps & new_steps and old.get((where, what)) != new.get((where, what)):
            changes.append(Change(where, what, old.get((where, what)), new.get((where, what))))
    return changes


def facts(text: str) -> Facts:
    """Flatten an IR, its Kubernetes part included, so that each value belongs to its step."""
    ir, *more = yaml.safe_load_all(text)
    platforms = more[0].get("platforms", {}) if more else {}
    all_facts: Facts = {}
    outer = {key: value for key, value in ir.items() if key not in ("components", "deploymentSpec", "root")}
    outer |= {key: value for key, value in ir["root"].items() if key != "dag"}
    for name, platform in platforms.items():
        outer[name] = {key: value for key, value in platform.items() if key != "deploymentSpec"}
    all_facts |= {(PIPELINE, what): value for what, value in _flat(outer)}
    for where, task in _tasks(ir, ir["root"]["dag"]["tasks"], platforms, ""):
        all_facts |= {(where, what): value for what, value in _flat(task)}
    return all_facts


def _tasks(
    ir: Mapping[str, Any], tasks: Mapping[str, Any], platforms: Mapping[str, Any], group: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each task with all its settings, independent of the numbers that kfp gives to conditions and components."""
    names = {name: task.get("taskInfo", {}).get("name", name) for name, task in tasks.items()}
    for name, task in tasks.items():
        where = group + names[name]
        component = ir.get("components", {}).get(task["componentRef"]["name"], {})
        facts_of_task = {key: value for key, value in task.items() if key not in ("componentRef", "taskInfo")}
        facts_of_task["dependentTasks"] = sorted(names.get(other, other) for other in task.get("dependentTasks", ()))
        for inputs in facts_of_task.get("inputs", {}).values():
            for source in inputs.values():
                for produced in (kind for kind in source.values() if isinstance(kind, dict)):
                    if "producerTask" in produced:
                        produced["producerTask"] = names.get(produced["producerTask"], produced["producerTask"])
        if "dag" in component:
            # Its inputs are declared as its tasks use them.
            yield where, facts_of_task
            yield from _tasks(ir, component["dag"]["tasks"], platforms, f"{where} / ")
        else:
            label = component.get("executorLabel", "")
            facts_of_task |= {key: value for key, value in component.items() if key != "executorLabel"}
            facts_of_task |= ir.get("deploymentSpec", {}).get("executors", {}).get(label, {})
            for platform, content in platforms.items():
                facts_of_task[platform] = content.get("deploymentSpec", {}).get("executors", {}).get(label, {})
            yield where, facts_of_task


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value != []:
        for pattern, words in _READABLE:
            key = pattern.sub(words, key)
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _section(path: str, before: str | None, after: str | None) -> list[str]:
    """Return a pipeline's part of the page, its lines last; empty where nothing changed."""
    if before == after:
        return []
    name = Path(path).stem
    if before is None or after is None:
        return [f"**{name}**: the pipeline is {'new' if before is None else 'gone'}."]
    changes = compare(before, after)
    rows = [f"| {_cell(c.where)} | {_cell(c.what)} | {_side(c, c.before)} | {_side(c, c.after)} |" for c in changes]
    table = ["| step | what | before | after |", "|---|---|---|---|", *rows] if rows else ["Only its form differs."]
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm=""))
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", "\n".join(lines)) or [""]))
    steps = len({c.where for c in changes} - {PIPELINE})
    return [
        f"**{name}**: {_counted(len(changes), 'change')} in {_counted(steps, 'step')}"
        + (" and the pipeline itself." if any(c.where == PIPELINE for c in changes) else "."),
        "\n".join(table),
        f"<details><summary>Lines</summary>\n\n{fence}diff\n" + "\n".join(lines) + f"\n{fence}\n\n</details>",
    ]


def _fitted(title: str, parts: list[list[str] | str]) -> str:
    """Join the page, leaving out what a comment can't hold and saying so."""
    page, left_out = title, False
    for block in (block for part in parts for block in ([part] if isinstance(part, str) else part)):
        if len(page) + len(block) > MAX_CHARACTERS:
            left_out = True
            continue
        page += f"\n\n{block}"
    return page + ("\n\nThe rest is too long for a comment; see `make diff-ir`." if left_out else "") + "\n"


def _side(change: Change, value: str | None) -> str:
    if value is None:
        return "none"
    if change.what == "step":
        return "there"
    other = (change.after if value is change.before else change.before) or ""
    same = next((i for i, (ours, theirs) in enumerate(zip(value, other, strict=False)) if ours != theirs), len(other))
    return _cell(f"…{value[same - 10 :]}" if len(value) > _MAX_CELL and same > _MAX_CELL // 2 else value)


def _cell(text: str) -> str:
    """Show a value as code in one line of a table, so that nothing in it is read as Markdown."""
    line = " ".join(text.split())
    return _code(line if len(line) <= _MAX_CELL else f"{line[: _MAX_CELL - 1]}…")


def _code(text: str) -> str:
    shown = text.replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else "empty"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _git(root: Path, reference: str, *arguments: str, strip: bool = True) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError("there is no git on this machine, which holds the former pipelines; install it.") from None
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise InputError(
            f"git knows no revision {reference!r} in {root}{f' ({why[-1]})' if why else ''}; "
            "name a commit, branch or tag, and fetch it first where the clone is shallow."
        )
    return done.stdout.strip() if strip else done.stdout
