"""A model that leaves the project as a folder scores as the server does, with onnxruntime and nothing of ours."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import InputError, StepFailed
from pipelines.edge.export import export
from tests.serving import tiny

ROWS = [
    *tiny.SAMPLE,
    {"usage": 3.25, "active": False, "plan": " Pra\u0308mie "},
    {"usage": 0.0, "active": True, "plan": "?"},
]


def scored(folder: Path, table: str = "sample.csv") -> list[dict[str, Any]]:
    """Run the script where nothing of the project can be imported."""
    command = [sys.executable, "-I", str(folder / "score.py"), str(folder / table)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_script_scores_the_sample_as_training_did(tmp_path: Path, task: str):
    export(tiny.package(tmp_path / "model", task=task), "7", tmp_path / "edge")

    answers = scored(tmp_path / "edge")

    z = [tiny.logit(row) for row in tiny.SAMPLE]
    if task == "binary":
        assert [a["score"] for a in answers] == pytest.approx([tiny.score(row) for row in tiny.SAMPLE], abs=1e-6)
        assert [a["decision"] for a in answers] == [
            "yes" if tiny.score(r) >= tiny.THRESHOLD else "no" for r in tiny.SAMPLE
        ]
    elif task == "multiclass":
        assert [len(a["score"]) for a in answers] == [3] * len(answers)
        assert [a["decision"] for a in answers] == ["up" if value > 0 else "down" for value in z]
    else:
        assert [a["score"] for a in answers] == pytest.approx(z, abs=1e-5)
        assert {a["decision"] for a in answers} == {None}


def test_missing_values_blanks_and_unknown_categories_are_read_as_by_the_server(tmp_path: Path):
    export(tiny.package(tmp_path / "model"), "7", tmp_path / "edge")
    with (tmp_path / "edge" / "rows.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, ["plan", "usage", "active"])
        writer.writeheader()
        writer.writerows(row | {"active": str(row["active"]).lower()} for row in ROWS)

    clean = [row | {"plan": "Prämie" if row["plan"] and "mie" in row["plan"] else row["plan"]} for row in ROWS]
    assert [a["score"] for a in scored(tmp_path / "edge", "rows.csv")] == pytest.approx(
        [tiny.score(row) for row in clean], abs=1e-6
    )


def test_the_readme_names_version_features_and_scores(tmp_path: Path):
    export(tiny.package(tmp_path / "model"), "7", tmp_path / "edge")

    text = (tmp_path / "edge" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# tiny, version 7\n") and "`usage`, `active`, `plan`" in text


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "mine.txt").write_text("x")

    with pytest.raises(InputError, match="is not an empty folder"):
        export(tiny.package(tmp_path / "model"), "7", tmp_path / "edge")
    assert [path.name for path in (tmp_path / "edge").iterdir()] == ["mine.txt"]


def test_a_package_that_was_altered_is_not_exported(tmp_path: Path):
    package = tiny.package(tmp_path / "model")
    (package / "model.onnx").write_bytes(b"altered")

    with pytest.raises(StepFailed, match=r"model\.onnx"):
        export(package, "7", tmp_path / "edge")
    assert not (tmp_path / "edge").exists()
