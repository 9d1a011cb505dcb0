"""Render the files of a guessed project."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from components.shared.measures.metric_names import JUDGED_CLASS_ROWS
from components.shared.project import Gate, Project
from components.shared.sql import identifier
from pipelines.project.initialise.guess import Guess
from pipelines.project.initialise.profile import ColumnProfile

_DOMAIN = 100
_DTYPES = {"numeric": "Float64", "boolean": "Bool", "categorical": "String"}


def render(draft: Project, source: str, path: str, guess: Guess, columns: list[ColumnProfile]) -> dict[str, str]:
    """Return the content of each file, by its path in the project."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(yaml=scalar, py=repr, sql=identifier, proto=proto, comment=comment, block=block)
    test = guess.test
    test_rows = int(guess.rows * test)
    label = next(column.column for column in guess.columns if column.role == "label")
    class_rows = _class_rows(guess, label, test)
    margin = plain_margin(effective_rows(class_rows) if class_rows else test_rows)
    view = f"{source}_features"
    features = [column for column in guess.columns if column.role == "feature"]
    values: dict[str, Any] = {
        "guess": guess,
        "draft": draft,
        "declared": draft.sources[source],
        "source": source,
        "path": path,
        "view": view,
        "features": features,
        "left_out": [column for column in guess.columns if column.role == "left out"],
        "label": label,
        "entity_type": next(column.column.type for column in guess.columns if column.role == "entity"),
        "test": test,
        "test_rows": test_rows,
        "min_test_rows": min(50, max(1, test_rows // 2)),
        "min_class_rows": min(Gate().min_class_rows, max(1, min(class_rows) // 2)) if class_rows else None,
        "rarest": min(class_rows) if class_rows else None,
        "margin": margin,
        "wide_margin": max(0.03, margin) if class_rows else error_margin(test_rows),
        "schema": [_schema(column, guess) for column in columns],
        "dtypes": _DTYPES,
        "imported": sorted({_DTYPES[str(feature.type)] for feature in features}),
    }
    templates = {
        f"feature_repo/schema/{source}.pbtxt": "schema.pbtxt.j2",
        "feature_repo/feature_store.yaml": "feature_store.yaml.j2",
        "feature_repo/features.py": "features.py.j2",
        f"feature_repo/sql/{view}.sql": "view.sql.j2",
        "project.yaml": "project.yaml.j2",
    }
    return {path: environment.get_template(template).render(values) for path, template in templates.items()}


def _schema(column: ColumnProfile, guess: Guess) -> dict[str, Any]:
    """Return the schema of a column, loose enough for the next batch of similar data."""
    role = next(candidate for candidate in guess.columns if candidate.column.name == column.name)
    types = {"BIGINT": "INT", "DOUBLE": "FLOAT", "BOOLEAN": "INT", "TIMESTAMP": "INT", "VARCHAR": "BYTES"}
    is_flag = column.type == "BOOLEAN" or (column.type == "BIGINT" and set(column.values) == {"0", "1"})
    is_quantity = role.type == "numeric" or (role.role == "label" and guess.target.task == "regression")
    is_open = role.role == "entity" or role.reason.startswith("an identifier") or len(column.values) < column.distinct
    listed = column.type == "VARCHAR" and not is_open and role.type != "numeric" and len(column.values) <= _DOMAIN
    share = column.present / column.rows
    return {
        "name": column.name,
        # The next batch may have fractions even if this one has integers only.
        "type": "FLOAT" if column.type == "BIGINT" and is_quantity and not is_flag else types[column.type],
        "is_time": column.type == "TIMESTAMP",
        "is_flag": is_flag,
        "values": sorted(column.values) if listed else [],
        "is_label": role.role == "label",
        "fraction": 1.0 if share == 1 else round(max(0.0, share - 0.1), 2),
    }


def scalar(value: Any) -> str:
    """Format a value as YAML on one line, with quotes only where necessary.

    >>> print(scalar("tenure"), scalar("No"), scalar("mean: radius"), scalar(1), scalar(True))
    tenure "No" "mean: radius" 1 true
    """
    if isinstance(value, str):
        is_plain = re.fullmatch(r"[A-Za-z_][\w .()%-]*(?<! )", value) and yaml.safe_load(value) == value
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def block(text: str) -> str:
    """Format a text as YAML: on one line without quotes where that is possible, otherwise as a block.

    >>> print(block("lower(x)"), block("a: b"))
    lower(x) |-
      a: b
    """
    if "\n" not in text and re.match(r"[A-Za-z(]", text) and yaml.safe_load(f"- {text}") == [text]:
        return text
    return "|-\n" + "\n".join(f"  {line}" for line in text.splitlines())


def proto(text: str) -> str:
    r"""Format a text as a string of a text proto.

    >>> print(proto('5" disk\n'))
    "5\" disk\n"
    """
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char if ord(char) >= 32 else f"\\{ord(char):03o}") for char in text) + '"'


def comment(text: str) -> str:
    """Format a text for a comment: without line breaks, which would end it."""
    return " ".join(text.split())


def _class_rows(guess: Guess, label: ColumnProfile, test: float) -> list[int]:
    """Return about how many test rows each class that is judged will have; empty for a regression."""
    if guess.target.task == "regression":
        return []
    expected = [int(count * test) for count in label.counts]
    judged = [rows for rows in expected if rows >= JUDGED_CLASS_ROWS]
    return judged if guess.target.task == "multiclass" and len(judged) >= 2 else expected


def effective_rows(class_rows: Sequence[int]) -> int:
    """Return how many rows of two classes of equal size would judge a ranking as precisely.

    The variance of an AUC is about proportional to one over the rows of its rarer class; that of a mean over classes
    is the mean of theirs, over their number.

    >>> effective_rows([500, 500]), effective_rows([980, 20]), effective_rows([300, 300, 20])
    (1000, 40, 318)
    """
    rarer = [min(rows, sum(class_rows) - rows) for rows in class_rows]
    if len(class_rows) == 2:
        return 2 * max(1, rarer[0])
    return round(2 * len(rarer) ** 2 / sum(1 / max(1, rows) for rows in rarer))


def error_margin(test_rows: int) -> float:
    """Return the difference in the 90 % quantile of two models' errors that this many test rows can rule out.

    In standard deviations of the label, and at least 0.03. The quantile of few errors is far less certain than a mean:
    its standard error is sqrt(0.09 / rows) / density, where normal errors of R squared 0.5 have a density of 0.3.

    >>> error_margin(132), error_margin(100_000)
    (0.17, 0.03)
    """
    return max(0.03, round(2 / math.sqrt(max(test_rows, 1)), 2))


def plain_margin(test_rows: int) -> float:
    """Return the approximate loss against a plain model that this many test rows can rule out; at least 0.01.

    >>> plain_margin(100_000), plain_margin(100)
    (0.01, 0.06)
    """
    return max(0.01, round(0.6 / math.sqrt(max(test_rows, 1)), 2))
