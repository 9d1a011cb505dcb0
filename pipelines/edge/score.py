"""Score the rows of a CSV file of features: ``python score.py ROWS.csv``. Needs onnxruntime and nothing else."""

import csv
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).parent
SPELLINGS = {"true": "1", "false": "0", "": "nan"}


def main(table: str) -> None:
    """Print one JSON object per row: its score (or one per class), and the decision where the model takes one."""
    facts = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    with open(table, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    numbers = [[number(row[name]) for name in facts["numeric"]] for row in rows]
    texts = [[unicodedata.normalize("NFC", row[name].strip()) for name in facts["categorical"]] for row in rows]
    tensors = {"numeric": np.array(numbers, np.float32), "categorical": np.array(texts, object)}
    wanted = {each.name for each in session.get_inputs()}
    for score in session.run(["score"], {name: tensors[name] for name in wanted})[0].tolist():
        print(json.dumps({"score": score, "decision": decision(facts, score)}))


def number(text: str) -> float:
    """Read a number or a boolean; an empty cell is missing."""
    text = text.strip().lower()
    return float(SPELLINGS.get(text, text))


def decision(facts: dict[str, Any], score: float | list[float]) -> str | None:
    """Decide as the model server does: by the threshold, or for the likeliest class."""
    classes, threshold = facts["classes"], facts["threshold"]
    if isinstance(score, list):
        return str(classes[score.index(max(score))])
    return None if threshold is None else str(classes[1 if score >= threshold else 0])


if __name__ == "__main__":
    main(sys.argv[1])
