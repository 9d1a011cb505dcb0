"""The notebook runs from its first cell to its last on a project that it never saw, and its results are right."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import psutil
import pytest
import yaml
from nbclient import NotebookClient

from pipelines import simulator
from pipelines.images import environments

BOOK = environments.ROOT / "notebooks" / "submit_run.ipynb"
# What the notebook found, for the claims below.
RESULTS = """
import json
print("results", json.dumps({
    "states": [run.state for run in runs.values()],
    "versions": [run.version for run in runs.values()],
    "models": [str(run.model) for run in runs.values()],
    "auc": [run.metrics["auc"].value for run in runs.values()],
    "rules": [run.rules for run in runs.values()],
    "rows": rows,
    "scores": [api.load(run.model).score(rows).tolist() for run in runs.values()],
    "answer": answer,
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    content = yaml.safe_load((environments.ROOT / "project.yaml").read_text(encoding="utf-8"))
    content["tuning"] = {"trials": 0}
    content["evaluation"] = {"resamples": 100}
    content["training"] = {"families": ["network"]}  # The plain model has no random start: both runs would be equal.
    content["gate"] = {
        "beat_rule": False,
        "plain_margin": None,
        "champion_margin": None,
        "probability_margin": None,
        "decision_margin": None,
        "min_test_rows": 1,
    }
    (folder / "project.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    shutil.copytree(environments.ROOT / "feature_repo", folder / "feature_repo")
    simulator.write(folder / ".perennial" / "data", customers=500, months=9)
    return folder


@pytest.fixture(scope="module")
def executed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    book = nbformat.read(BOOK, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(RESULTS))
    # The kernel runs in another folder: only PERENNIAL_PROJECT says which project is meant.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    client = NotebookClient(book, timeout=500, resources={"metadata": {"path": str(elsewhere)}})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERENNIAL_")}
    client.execute(env=kept | {"PYTHONPATH": str(environments.ROOT), "PERENNIAL_PROJECT": str(project)})
    assert list(elsewhere.iterdir()) == []
    said = "".join(output.text for output in book.cells[-1].outputs)
    return book, json.loads(said.partition("results ")[2])


def printed(book: nbformat.NotebookNode, source: str) -> str:
    """Return what the cell printed whose source holds a text."""
    [cell] = [cell for cell in book.cells if cell.cell_type == "code" and source in cell.source]
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_what_is_committed_has_no_output_and_was_never_run():
    book = nbformat.read(BOOK, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]

    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert all(cell.metadata == {} for cell in book.cells)
    assert set(book.metadata) == {"kernelspec", "language_info"}


def test_a_notebook_imports_and_defines_nothing():
    book = nbformat.read(BOOK, as_version=4)

    assert not re.search(r"^\s*(def|class|%|!)", "\n".join(c.source for c in book.cells if c.cell_type == "code"), re.M)


def test_both_runs_are_watched_step_by_step_and_released(executed):
    book, results = executed

    assert results["states"] == ["finished", "finished"]
    assert results["versions"] == ["1", "2"]
    for seed in (7, 8):
        assert re.search(r"^evaluation +done +\d+\.\d s$", printed(book, f"seed={seed},"), re.MULTILINE)
    assert re.search("^ingestion +cached", printed(book, "seed=8,"), re.MULTILINE)


def test_the_metrics_shown_are_those_that_the_evaluation_wrote(executed, project):
    book, results = executed
    records = [json.loads(path.read_text()) for path in sorted(project.glob(".perennial/runs/*/run.json"))]
    reports = [
        json.loads((project / ".perennial" / r["artifacts"]["evaluation.report"] / "evaluation.json").read_text())
        for r in records
    ]
    auc = [report["metrics"]["auc"]["value"] for report in reports]
    table = printed(book, "for metric in first.metrics")

    assert results["auc"] == auc
    assert auc[0] != auc[1] and all(0.5 < value < 1 for value in auc)
    assert all(f"{value:.4f} (" in table for value in auc)
    assert all(f"\n{metric} " in table for metric in list(reports[0]["metrics"])[1:])


def test_the_rules_shown_are_those_of_the_gate(executed):
    book, results = executed
    shown = printed(book, "run.rules.items()")

    assert all(results["rules"]) and all(all(rules.values()) for rules in results["rules"])
    assert all(f"yes {reason}" in shown for rules in results["rules"] for reason in rules)


def test_the_endpoint_answers_with_the_scores_of_the_release_that_it_names(executed):
    _, results = executed
    first, second = results["scores"]
    answered = [prediction["score"] for prediction in results["answer"]["predictions"]]

    assert results["answer"]["model_version"] == "2" and len(results["rows"]) == 3
    np.testing.assert_allclose(answered, second, atol=1e-4)
    assert first != second


def test_the_runs_are_drawn_side_by_side(executed):
    book, _ = executed
    [cell] = [cell for cell in book.cells if "plt.subplots" in cell.source]
    [picture] = [output for output in cell.outputs if output.output_type == "display_data"]

    assert len(picture.data["image/png"]) > 10_000


def test_nothing_of_it_runs_on(executed, project):
    left = [p.cmdline() for p in psutil.process_iter(["cmdline"]) if str(project) in " ".join(p.info["cmdline"] or ())]

    assert left == []


def test_a_package_that_was_altered_is_not_loaded(executed, tmp_path):
    from components.shared.errors import StepFailed
    from pipelines import api

    copy = shutil.copytree(executed[1]["models"][0], tmp_path / "model")
    (copy / "model.json").write_text((copy / "model.json").read_text() + " ")

    with pytest.raises(StepFailed, match=r"model\.json"):
        api.load(copy)


def test_a_row_without_a_feature_is_refused_by_name(executed):
    from components.shared.errors import InputError
    from pipelines import api

    model = api.load(Path(executed[1]["models"][0]))
    rows = [model.sample[0], {k: v for k, v in model.sample[0].items() if k != "plan"}]

    with pytest.raises(InputError, match=r"lacks \['plan'\]"):
        model.score(rows)


def test_the_lock_is_the_commands_own_and_more():
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[\w.+-]+", path.read_text(encoding="utf-8"), re.MULTILINE))

    missing = pins(environments.ROOT / "requirements.txt") - pins(BOOK.with_name("requirements.txt"))

    assert missing == set(), "run 'perennial lock notebooks'"
