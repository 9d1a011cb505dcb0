"""Is the network as good as gradient boosting on a table that neither was made for?

``python -m tests.benchmarks.telco_parity TABLE.csv``, in a virtualenv of this folder's requirements.
Ten random splits of the Telco table; on each, both models get the same rows and the same number of TPE trials, judged
by the same validation rows; the difference of their AUCs on the test rows is paired.
Exit code 1 if its lower 95 % bound is below -0.005.
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import optuna
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from components.shared.inputs import rows
from components.shared.learning import prepare
from components.shared.project import Project
from components.training import logic as training
from components.tuning import logic as tuning
from tests import documents

SPLITS = 10
MARGIN = -0.005
NUMBERS = ("tenure", "MonthlyCharges", "TotalCharges")


def main() -> int:
    """Compare on every split, print a line per split and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="telco_customer_churn.csv")
    parser.add_argument("--trials", type=int, default=8, help="for each of the two models, on each split")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = telco(arguments.table)
    project = project_of(table, arguments.trials)
    found = []
    for seed in range(SPLITS):
        with tempfile.TemporaryDirectory() as folder:
            write_splits(table, Path(folder), seed)
            began = time.perf_counter()
            ours = auc_of_candidate(project, Path(folder), seed)
            halfway = time.perf_counter()
            theirs = auc_of_boosting(project, Path(folder), seed, arguments.trials)
            seconds = (halfway - began, time.perf_counter() - halfway)
        found.append(ours - theirs)
        print(
            f"split {seed}: network {ours:.4f} ({seconds[0]:.1f} s), LightGBM {theirs:.4f} ({seconds[1]:.1f} s), "
            f"difference {found[-1]:+.4f}",
            flush=True,
        )
    error = float(np.std(found, ddof=1) / np.sqrt(len(found)))
    low, high = stats.t.interval(0.95, len(found) - 1, np.mean(found), error)
    print(f"mean difference {np.mean(found):+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, bound asked for {MARGIN}")
    return 0 if low >= MARGIN else 1


def telco(path: Path) -> pa.Table:
    """Read the table; blanks among the charges are missing."""
    table = pacsv.read_csv(path)
    charges = pc.utf8_trim_whitespace(table.column("TotalCharges").cast(pa.string()))
    numbers = pc.if_else(pc.equal(charges, ""), None, charges).cast(pa.float64())
    table = table.set_column(table.column_names.index("TotalCharges"), "TotalCharges", numbers)
    return table.append_column("at", pa.array([0] * table.num_rows, pa.timestamp("us", tz="UTC")))


def project_of(table: pa.Table, trials: int) -> Project:
    """Describe the table; everything that is not said here is a default."""
    names = [name for name in table.column_names if name not in ("customerID", "Churn", "at")]
    types = {name: "numeric" if name in NUMBERS else "categorical" for name in names} | {"SeniorCitizen": "boolean"}
    return Project.model_validate(
        {
            "name": "telco",
            "task": "binary",
            "entity": "customerID",
            "event_time": "at",
            "sources": {"customers": {"path": "telco.csv"}},
            "label": {"source": "customers", "column": "Churn", "positive": "Yes"},
            "features": {"service": "telco", "columns": {name: {"type": kind} for name, kind in types.items()}},
            "tuning": {"trials": trials},
        }
    )


def write_splits(table: pa.Table, folder: Path, seed: int) -> None:
    """Write 64 % training, 16 % validation and 20 % test rows."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    cuts = [int(table.num_rows * share) for share in (0.64, 0.80)]
    for name, chosen in zip(("train", "validation", "test"), np.split(order, cuts), strict=True):
        pq.write_table(table.take(chosen), folder / f"{name}.parquet")
    documents.split(content_hash=f"{seed}").write(folder)


def auc_of_candidate(project: Project, splits: Path, seed: int) -> float:
    """Tune and train as the pipeline does, and ask the exported model."""
    tuning.tune(project, splits, seed, str(splits / "storage"), splits / "study")
    training.train(project, splits, splits / "study", seed, splits / "model", splits / "plain")
    test = rows.read(splits / "test.parquet", [*project.features.columns, "Churn"])
    asked = rows.inputs(test, rows.numeric_names(project), rows.categorical_names(project))
    session = onnxruntime.InferenceSession(str(splits / "model" / "model.onnx"), providers=["CPUExecutionProvider"])
    return float(roc_auc_score(rows.texts(test, "Churn") == "Yes", session.run(["score"], asked.feed())[0]))


def auc_of_boosting(project: Project, splits: Path, seed: int, trials: int) -> float:
    """Tune LightGBM with native categories and early stopping on the same rows."""
    known = prepare.read(project, splits)
    test = rows.read(splits / "test.parquet", [*project.features.columns, "Churn"])
    asked = rows.inputs(test, rows.numeric_names(project), rows.categorical_names(project))
    words = [sorted(set(column)) for column in known.train.categorical.T]
    train, validation, judged = (_matrix(part, words) for part in (known.train, known.validation, asked))
    best: dict[str, Any] = {"loss": np.inf, "auc": None}

    def objective(trial: optuna.Trial) -> float:
        fixed = {"n_estimators": 2000, "random_state": seed, "n_jobs": 1, "verbose": -1}
        model = lightgbm.LGBMClassifier(**lightgbm_space(trial), **fixed)
        model.fit(
            train,
            known.train_labels,
            eval_set=[(validation, known.validation_labels)],
            eval_metric="binary_logloss",
            categorical_feature=list(range(known.train.numeric.shape[1], train.shape[1])),
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        loss = float(log_loss(known.validation_labels, model.predict_proba(validation)[:, 1]))
        if loss < best["loss"]:
            answers = rows.texts(test, "Churn") == "Yes"
            best.update(loss=loss, auc=roc_auc_score(answers, model.predict_proba(judged)[:, 1]))
        return loss

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=3, multivariate=True))
    study.enqueue_trial(LIGHTGBM_DEFAULTS)
    study.optimize(objective, n_trials=trials)
    return float(best["auc"])


LIGHTGBM_DEFAULTS = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 20,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "reg_lambda": 1.0,
}


def lightgbm_space(trial: optuna.Trial) -> dict[str, Any]:
    """Draw LightGBM's hyperparameters; the number of trees is chosen by early stopping."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 64, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 100, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "subsample_freq": 1,
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 100.0, log=True),
    }


def _matrix(part: rows.Inputs, words: list[list[str]]) -> np.ndarray:
    codes = [{word: code for code, word in enumerate(known)} for known in words]
    columns = [
        [code.get(word, np.nan) for word in column] for code, column in zip(codes, part.categorical.T, strict=True)
    ]
    return np.column_stack([part.numeric, *columns])


if __name__ == "__main__":
    raise SystemExit(main())
