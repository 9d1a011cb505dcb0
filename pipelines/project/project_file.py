"""Read project.yaml, and report a mistake with the key, the expected value and the most similar key."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from components.shared.documents.package_sample import SAMPLE_ROWS
from components.shared.errors import InputError
from components.shared.measures.metric_names import HIGHER_IS_BETTER, MEASURED, SELECTABLE
from components.shared.project import Project
from pipelines.images import environments
from pipelines.project import feature_file, typed_yaml
from pipelines.project.suggestion import hint

FILE_NAME = "project.yaml"


def read(path: Path) -> Project:
    """Parse a project file.

    Args:
        path: The file, or the folder that holds ``project.yaml``.

    Raises:
        InputError: If it does not exist, is not YAML, or is not a valid project.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        content = typed_yaml.load(file)
    except FileNotFoundError:
        raise InputError(
            f"the project file {str(file)!r} does not exist; change to a project's folder, set --project, or create a "
            "project with 'perennial init TABLE --label COLUMN'."
        ) from None
    project = typed_yaml.parse(file.name, content, Project)
    for problem in itertools.chain(_contradictions(project), feature_file.contradictions(project, file.parent)):
        raise InputError(f"{file.name}: {problem}")
    return project


def json_schema() -> str:
    """Return the JSON schema of a project file, for editors."""
    return json.dumps(Project.model_json_schema(), indent=1, sort_keys=True) + "\n"


def _contradictions(project: Project) -> Iterator[str]:
    """Find contradictions between keys that are valid on their own."""
    sources = sorted(project.sources)
    if project.label.source not in project.sources:
        yield f"label.source is {project.label.source!r}, expected one of the sources {sources}."
    for source in project.validation.segment_columns:
        if source not in project.sources:
            yield f"validation.segment_columns names {source!r}, expected one of the sources {sources}."
    columns = sorted(project.features.columns)
    for name in project.serving.request_features:
        if name not in project.features.columns:
            yield f"serving.request_features names {name!r}, which is not a feature; {hint(name, columns)}"
    for entry in project.evaluation.slices:
        for column in (entry,) if isinstance(entry, str) else entry:
            if column not in project.features.columns:
                yield f"evaluation.slices names {column!r}, which is not a feature; {hint(column, columns)}"
    for rule, needed, present in (
        ("slice_gap", "evaluation.slices", project.gate.slice_gap is None or project.evaluation.slices),
        ("fairness_gap", "evaluation.fairness", project.gate.fairness_gap is None or project.evaluation.fairness),
        ("value_positive", "value", not project.gate.value_positive or project.value),
    ):
        if not present:
            yield f"gate.{rule} requires {needed!r}, which is not set; set it or remove the rule."
    steps = environments.steps()
    for step in project.resources.steps:
        if step not in steps:
            yield f"resources.steps names {step!r}, which is not a step; {hint(step, steps)}"
    if project.label.column in project.features.columns:
        yield f"the label {project.label.column!r} is listed as a feature; remove it from features.columns."
    if len(project.features.columns) > project.limits.columns:
        yield (
            f"features.columns lists {len(columns)} features, but limits.columns is {project.limits.columns}; "
            "remove some features or raise the limit."
        )
    if project.split.validation + project.split.test >= 1:
        yield (
            f"split.validation {project.split.validation} and split.test {project.split.test} leave no rows for "
            "training; their sum must be below 1."
        )
    yield from _unsuitable_metrics(project)
    yield from _unsuitable_split(project)
    if project.gate.fairness_gap is not None and project.task == "regression":
        yield "gate.fairness_gap compares selection rates, which a regression does not have; remove the rule."
    if project.limits.request_rows < SAMPLE_ROWS:
        yield (
            f"limits.request_rows is {project.limits.request_rows}, but a release sends {SAMPLE_ROWS} rows to verify "
            f"the server; set it to {SAMPLE_ROWS} or more."
        )
    # Imported here, because most commands need no numpy.
    from components.tuning import space

    try:
        space.check(project.tuning, project.training)
    except InputError as problem:
        yield str(problem)
    if project.tuning.sampler == "gp" and "\ntorch==" not in environments.lock_of("tuning").read_text(encoding="utf-8"):
        yield (
            "tuning.sampler is 'gp', which requires PyTorch, but the lock of the tuning step has no torch; add 'torch' "
            "to components/tuning/requirements.in and run 'make lock STEP=tuning', or set the sampler to 'tpe'."
        )
    if project.task != "binary" and project.value is not None:
        yield f"'value' is only valid for a binary task, but the task is {project.task}; remove the section."


def _unsuitable_metrics(project: Project) -> Iterator[str]:
    """Find metrics that the task does not have, or that are held to a bound on the wrong side."""
    selectable, primary = SELECTABLE[project.task], project.evaluation.primary
    if primary is not None and primary not in selectable:
        yield f"evaluation.primary is {primary!r}; {hint(primary, selectable)}"
    measured = [*MEASURED[project.task], *(["value_per_1000"] if project.value else [])]
    if project.task != "regression":
        measured.append("ece")
    for section, names, wrong_direction, other in (
        ("floors", project.gate.floors, False, "ceilings"),
        ("ceilings", project.gate.ceilings, True, "floors"),
    ):
        for name in names:
            if name not in measured:
                yield f"gate.{section} names {name!r}, which is not measured for this task; {hint(name, measured)}"
            elif HIGHER_IS_BETTER.get(name, False) is wrong_direction:
                better = "higher" if wrong_direction else "lower"
                yield f"gate.{section} names {name!r}, of which {better} is better; move it to gate.{other}."


def _unsuitable_split(project: Project) -> Iterator[str]:
    """Find a gap that the split ignores, or that is too short for late labels."""
    gap_days, delay_days = project.split.gap_days, project.label.delay_days
    if gap_days is None:
        return
    if project.split.method != "time":
        method = project.split.method
        yield f"split.gap_days is only valid for the split by time, but split.method is {method}; remove it."
    elif gap_days < delay_days:
        yield (
            f"split.gap_days is {gap_days}, but labels take {delay_days} days (label.delay_days): training rows would "
            f"have labels from the time of the test rows. Set it to {delay_days} or more, or remove it."
        )
