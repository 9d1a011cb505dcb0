"""Reference pages in Markdown, made from the code: project file, target files, command, Python."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel

from components.shared.project import Project
from pipelines import api
from pipelines.command.cli import main
from pipelines.targets.model import Target


def pages() -> Mapping[str, str]:
    """Return every reference page: name -> Markdown."""
    return {
        "project-file": project_file(),
        "target-files": target_files(),
        "command": command(),
        "python": python(),
    }


def project_file() -> str:
    """Describe every key of the project file."""
    intro = (
        "Every key of `project.yaml`. A key without a default is required. `perennial schema` prints the same as a "
        "JSON schema, which editors use to complete and check the file."
    )
    return _page("The project file", intro, _models(Project))


def target_files() -> str:
    """Describe every key of a target file, by kind."""
    intro = "Every key of a target file, by its `kind`; [Target files](../docs/targets.md) says how they are used."
    return _page("Target files", intro, (text for model in get_args(Target) for text in _models(model)))


def command() -> str:
    """Show the help of every verb."""
    intro = (
        "Every verb of `perennial`, as its `--help` says. A verb ends with 0 if it did what it was asked, 2 for an "
        "input that it refuses, 3 if the gate rejected, 4 if the data was blocked, 5 if a step or a service failed, "
        "130 after Ctrl-C, and 1 with a traceback for a bug."
    )
    return _page("The command", intro, _verbs(main, "perennial"))


def python() -> str:
    """Show the functions of ``pipelines.api``."""
    functions = [
        value for name, value in vars(api).items() if inspect.isfunction(value) and value.__module__ == api.__name__
        and not name.startswith("_")
    ]  # fmt: skip
    sections = (
        f"## {function.__name__}\n\n```python\n{function.__name__}{inspect.signature(function)}\n```\n\n"
        f"```text\n{inspect.getdoc(function)}\n```\n"
        for function in functions
    )
    return _page("The Python interface", inspect.getdoc(api) or "", sections)


def _page(title: str, intro: str, sections: Iterator[str]) -> str:
    return "\n".join([f"# {title}\n", f"{intro}\n", *sections])


def _models(first: type[BaseModel]) -> Iterator[str]:
    """Describe a model and, after it, each model that its fields hold."""
    pending, seen = [first], set[type[BaseModel]]()
    while pending:
        model = pending.pop(0)
        if model in seen:
            continue
        seen.add(model)
        rows = []
        for name, field in model.model_fields.items():
            pending += _held(field.annotation)
            default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
            sentences = [field.description or "", *_choices(field.annotation)]
            sentences += [f"See [{held.__name__}](#{held.__name__.lower()})." for held in _held(field.annotation)]
            rows.append(f"| `{name}` | {default} | {_cell(' '.join(sentences))} |")
        table = "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])
        yield f"## {model.__name__}\n\n{inspect.getdoc(model)}\n\n{table}\n"


def _held(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _held(argument)


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "those of its keys"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{'null' if value is None else _cell(str(value))}`"


def _choices(annotation: Any) -> Iterator[str]:
    """Say which texts a key takes, where there are only some."""
    if get_origin(annotation) is Literal:
        yield f"One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}."
    else:
        for argument in get_args(annotation):
            yield from _choices(argument)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _verbs(verb: click.Command, name: str) -> Iterator[str]:
    context = click.Context(verb, info_name=name, terminal_width=100)
    yield f"## {name}\n\n```text\n{verb.get_help(context)}\n```\n"
    if isinstance(verb, click.Group):
        for inner in sorted(verb.commands):
            yield from _verbs(verb.commands[inner], f"{name} {inner}")
