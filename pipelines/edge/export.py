"""Write a released model as a folder for the edge."""

import csv
import shutil
from pathlib import Path

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample
from components.shared.errors import InputError
from components.shared.package import integrity

_SCRIPT = Path(__file__).with_name("score.py")
_README = """# {name}, version {version}

{task} model of `{label}`: the ONNX graph holds its preprocessing.

    pip install onnxruntime
    python score.py sample.csv

`score.py` reads a CSV file with the columns {features} and prints one JSON object per row. A missing value is an empty
cell; booleans are `true` and `false`. The first rows of `sample.csv` must score {scores}.

| file | holds |
|---|---|
| `model.onnx` | `numeric` (rows, {numeric}) float32 with NaN, `categorical` (rows, {categorical}) text -> `score` |
| `model.json` | the order of the features in the inputs, classes, threshold, ranges, vocabulary |
| `manifest.json`, `sample.json` | SHA-256 of the files as registered; sample rows with their scores |
| `reference.json` | training rows that explanations compare with; `model.onnx` answers them with the output `margin` |
"""


def export(package: Path, version: str, target: Path) -> None:
    """Copy a model package, and add a script that scores with onnxruntime alone, a sample and a README.

    Args:
        package: A verified model package.
        version: The version that it is.
        target: The folder; must not exist, or be empty.

    Raises:
        InputError: If the folder holds anything.
        StepFailed: If the package differs from its manifest.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder; name another one.")
    integrity.verify(package, None)
    facts, sample = ModelFacts.read(package), PackageSample.read(package)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(package.iterdir()):
        shutil.copy(path, target)
    shutil.copy(_SCRIPT, target)
    names = [*facts.numeric, *facts.categorical]
    with (target / "sample.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows([_cell(row[name]) for name in names] for row in sample.rows)
    readme = _README.format(
        name=facts.name,
        version=version,
        task=facts.task.capitalize(),
        label=facts.label,
        features=", ".join(f"`{name}`" for name in names),
        scores=", ".join(str(score) for score in sample.scores),
        numeric=len(facts.numeric),
        categorical=len(facts.categorical),
    )
    (target / "README.md").write_text(readme, encoding="utf-8")


def _cell(value: bool | int | float | str | None) -> str:
    """Write a value so that ``score.py`` reads the same one."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
