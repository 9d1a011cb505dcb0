"""Our models and others on the same random splits of one table.

``python -m pipelines.bench.contest PROJECT ROWS SPLITS FOLDER`` prints a JSON object; it runs in training's virtualenv,
where the study and the training of the pipeline are called as their steps call them.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

from components.shared import files
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.split import SplitRows, SplitSummary
from components.shared.inputs import rows
from components.shared.learning import labels as label_encoding
from components.shared.package.session import OUTPUT, open_session
from components.shared.project import Project
from components.training import logic as training
from components.tuning import logic as tuning
from pipelines.bench.contenders import Contest, available

_TEST, _VALIDATION = 0.2, 0.15
_CALLS = 300


def measure(project: Project, table: pa.Table, splits: int, folder: Path) -> dict[str, Any]:
    """Return the metric and the seconds of every model on every split, and what ours is like.

    Args:
        project: As ``perennial init`` wrote it.
        table: The labelled rows with their features.
        splits: Number of random splits, stratified by class; 20 % are test rows, 15 % choose.
        folder: An empty folder.
    """
    results: list[dict[str, Any]] = []
    for seed in range(splits):
        results.append(_split(project, table, seed, folder / str(seed)))
    return {
        "task": project.task,
        "rows": table.num_rows,
        "test_rows": results[0]["test_rows"],
        "splits": results,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _split(project: Project, table: pa.Table, seed: int, folder: Path) -> dict[str, Any]:
    parts = _parts(project, table, seed)
    _write(parts, folder / "splits")
    began = time.perf_counter()
    tuning.tune(project, folder / "splits", seed, str(folder / "studies"), folder / "study")
    training.train(project, folder / "splits", folder / "study", seed, folder / "model", folder / "plain")
    seconds = {"Perennial": time.perf_counter() - began}
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    inputs = {name: rows.inputs(part, numeric, categorical) for name, part in parts.items()}
    target = label_encoding.learn(project, parts["train"], parts["validation"])
    answers = {name: target.encode(part, project.label.column) for name, part in parts.items()}
    scores, contest = {}, _contest(project.task, inputs, answers, target.units)
    for name, package in (("Perennial", "model"), ("plain", "plain")):
        session = open_session(folder / package / "model.onnx")
        scores[name] = session.run([OUTPUT], inputs["test"].feed())[0].astype(np.float64)
    one = inputs["test"].take(np.zeros(1, int)).feed()
    session = open_session(folder / "model/model.onnx")
    began = time.perf_counter()
    for _ in range(_CALLS):
        session.run([OUTPUT], one)
    row_ms = (time.perf_counter() - began) / _CALLS * 1000
    for name, fit in available().items():
        began = time.perf_counter()
        scores[name] = fit(contest)
        if project.task == "regression":
            scores[name] = scores[name] * target.scale + target.mean
        seconds[name] = time.perf_counter() - began
    truth = answers["test"] * target.scale + target.mean if project.task == "regression" else answers["test"]
    return {
        "metrics": {name: _metric(project.task, truth, answer) for name, answer in scores.items()},
        "seconds": seconds,
        "family": ModelFacts.read(folder / "model").family,
        "row_ms": row_ms,
        "size_mib": (folder / "model/model.onnx").stat().st_size / 2**20,
        "test_rows": len(truth),
    }


def _parts(project: Project, table: pa.Table, seed: int) -> dict[str, pa.Table]:
    """Cut the rows at random; each class has the same share in all parts if it has rows enough."""
    order = np.arange(table.num_rows)
    classes = None
    if project.task != "regression":
        texts = rows.texts(table, project.label.column)
        _, counts = np.unique(texts.astype(str), return_counts=True)
        classes = texts if counts.min() >= 10 else None
    rest, test = train_test_split(order, test_size=_TEST, random_state=seed, stratify=classes)
    of_rest = None if classes is None else classes[rest]
    train, validation = train_test_split(rest, test_size=_VALIDATION / (1 - _TEST), random_state=seed, stratify=of_rest)
    return {name: table.take(part) for name, part in (("train", train), ("validation", validation), ("test", test))}


def _write(parts: dict[str, pa.Table], folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, part in parts.items():
        pq.write_table(part, folder / f"{name}.parquet")
    counts = {name: part.num_rows for name, part in parts.items()}
    unknown = dict.fromkeys(parts, ("", ""))
    SplitSummary.model_validate(
        {
            "method": "random", "gap_days": 0, "rows": SplitRows(left_out=0, **counts), "ranges": unknown,
            "content_hash": files.sha256(folder),
        }
    ).write(folder)  # fmt: skip


def _contest(task: str, inputs: dict[str, rows.Inputs], answers: dict[str, Any], units: int) -> Contest:
    codes = [{word: code for code, word in enumerate(sorted(set(column)))} for column in inputs["train"].categorical.T]

    def matrix(part: rows.Inputs) -> NDArray[np.float64]:
        columns = [part.numeric.astype(np.float64)]
        for known, column in zip(codes, part.categorical.T, strict=True):
            columns.append(np.array([known.get(word, np.nan) for word in column], np.float64)[:, None])
        return np.concatenate(columns, axis=1)

    return Contest(
        task=task,
        train=matrix(inputs["train"]),
        validation=matrix(inputs["validation"]),
        test=matrix(inputs["test"]),
        train_labels=answers["train"].astype(np.float64),
        validation_labels=answers["validation"].astype(np.float64),
        categories=len(codes),
        classes=units if task == "multiclass" else 2,
    )


def _metric(task: str, truth: NDArray[Any], answers: NDArray[np.float64]) -> float:
    """Return AUC, the mean AUC of each class against the rest, or R2."""
    if task == "regression":
        return float(r2_score(truth, answers))
    if task == "binary":
        return float(roc_auc_score(truth, answers))
    return float(np.mean([roc_auc_score(truth == c, answers[:, int(c)]) for c in np.unique(truth)]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    described = Project.model_validate(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(json.dumps(measure(described, pq.read_table(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
