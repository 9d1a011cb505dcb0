"""The evaluation step measures candidate, baselines and champion on the same rows that none of them has seen."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluation import exclusion, logic
from components.evaluation import reference as reference_rows
from components.shared.documents.evaluation import ComparedChampion, EvaluatedRows, EvaluationReport
from components.shared.documents.measurements import Confusion
from components.shared.errors import InputError, StepFailed
from components.shared.project import Project
from tests import documents
from tests.components.evaluation.linear_package import write_package

CLASSES = {"binary": ["no", "yes"], "multiclass": ["0", "1", "2"], "regression": None}


def project(task: str, **evaluation: Any) -> Project:
    return Project.model_validate(
        {
            "name": "made",
            "task": task,
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "label"},
            "features": {
                "service": "made",
                "columns": {"x": {"type": "numeric"}, "noise": {"type": "numeric"}, "plan": {"type": "categorical"}},
            },
            "value": {"benefit": 8, "success_rate": 0.5, "false_positive_cost": 2} if task == "binary" else None,
            "evaluation": {"resamples": 100, "slices": ["plan"], "fairness": ["plan"]} | evaluation,
        }
    )


def table(task: str, rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x, noise, plan = rng.normal(size=rows), rng.normal(size=rows), rng.choice(["a", "b"], rows)
    signal = 2 * x + (plan == "a") + rng.logistic(size=rows)
    label = {
        "binary": np.where(signal > 0.5, "yes", "no"),
        "multiclass": np.digitize(signal, [-1, 1.5]),
        "regression": signal,
    }[task]
    return pa.table(
        {
            "id": pa.array(np.arange(rows) + 1_000_000 * seed),
            "at": pa.array(np.arange(rows) * 3_600_000_000, pa.timestamp("us", "UTC")),
            "label": label,
            "x": pa.array(np.where(rng.random(rows) < 0.05, np.nan, x), from_pandas=True),
            "noise": noise,
            "plan": plan,
        }
    )


def judging(test: int, *, by_split: int = 0, by_champion: int = 0) -> EvaluatedRows:
    excluded = by_split + by_champion
    return EvaluatedRows(
        test=test, excluded_seen=excluded, excluded_by_split=by_split, excluded_by_champion=by_champion
    )


def unclassed(rows: EvaluatedRows) -> EvaluatedRows:
    return rows.model_copy(
        update={"by_class": {}, "parts": {}, "oldest_trained": None, "champion_oldest_trained": None}
    )


def seen(rows: pa.Table) -> pa.Table:
    return pa.table({"id": rows.column("id").cast(pa.string()), "at": rows.column("at")})


class Run:
    """The folders of one evaluation."""

    def __init__(self, folder: Path, task: str, test: pa.Table | None = None) -> None:
        self.folder, self.task = folder, task
        self.test = table(task, 400, seed=3) if test is None else test
        self.package("model", 2.0)
        self.package("plain", 1.5)
        self.champion(None)
        (folder / "splits").mkdir()
        for name, rows in (("train", table(task, 600, 1)), ("validation", table(task, 200, 2)), ("test", self.test)):
            pq.write_table(rows, folder / "splits" / f"{name}.parquet")

    def package(self, name: str, weight: float, **changes: Any) -> Path:
        direction = [-1.0, 0.0, 1.0] if self.task == "multiclass" else [1.0]
        numeric = {"x": [weight * d for d in direction], "noise": [0.0] * len(direction)}
        how: dict[str, Any] = {
            "task": self.task,
            "numeric": numeric,
            "categorical": {"plan": {"a": 1.0 if self.task != "multiclass" else 0.0}},
            "bias": [-0.5] if self.task == "binary" else None,
            "classes": CLASSES[self.task],
            "threshold": 0.33 if self.task == "binary" else None,
        }
        return write_package(self.folder / name, **(how | changes))

    def champion(self, version: str | None) -> None:
        documents.champion(version).write(self.folder / "champion")

    def evaluate(self, seed: int = 7, **evaluation: Any) -> EvaluationReport:
        splits, model, plain, champion, out = (
            self.folder / name for name in ("splits", "model", "plain", "champion", "evaluation")
        )
        return logic.evaluate(project(self.task, **evaluation), splits, model, plain, champion, seed, out)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_good_model_is_measured_with_every_section_and_beats_the_rule(tmp_path, task):
    measured = Run(tmp_path, task).evaluate()

    assert EvaluationReport.read(tmp_path / "evaluation") == measured
    assert measured.rows.test == 400
    assert measured.comparisons.rule.low > 0
    assert abs(measured.comparisons.plain.difference) < 0.1
    best = measured.metrics[measured.primary]
    assert best.low < best.value < best.high
    assert {part.where["plan"] for part in measured.slices} == {"a", "b"}
    assert all(0 < amount < 10_000 for _, amount in measured.cost)
    assert (measured.value is None, measured.roc is None) == ((task != "binary"),) * 2
    assert (measured.confusion is None) == (task == "regression")


def test_binary_decisions_are_those_of_the_packages_threshold(tmp_path):
    run = Run(tmp_path, "binary")

    measured = run.evaluate()

    x = np.nan_to_num(run.test.column("x").to_numpy(zero_copy_only=False), nan=0.0).astype(np.float32)
    plan, label = run.test.column("plan").to_numpy(), run.test.column("label").to_numpy()
    acted = 1 / (1 + np.exp(0.5 - 2 * x - (plan == "a"))) >= 0.33
    expected = [[int(((label == said) & (acted == yes)).sum()) for yes in (False, True)] for said in ("no", "yes")]
    assert measured.confusion == Confusion(labels=("no", "yes"), matrix=expected)
    assert measured.value.total == 4 * expected[1][1] - 2 * expected[0][1]


def test_predictions_hold_each_models_score_of_each_row(tmp_path):
    run = Run(tmp_path, "binary")
    run.champion("1")
    run.package("champion/package", 1.0)

    measured = run.evaluate()

    rows = pq.read_table(tmp_path / "evaluation" / "predictions.parquet")
    assert rows.column_names == ["entity", "event_time", "label", "candidate", "rule", "plain", "champion"]
    acted = rows.column("candidate").to_numpy() >= measured.threshold
    assert measured.metrics["selection_rate"].value == acted.mean()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_reference_is_what_the_server_would_have_logged_of_the_test_rows(tmp_path, task):
    run = Run(tmp_path, task)

    measured = run.evaluate()

    reference = pq.read_table(tmp_path / "evaluation" / "reference.parquet")
    predictions = pq.read_table(tmp_path / "evaluation" / "predictions.parquet")
    score = "scores" if task == "multiclass" else "score"
    assert reference[score].to_pylist() == predictions["candidate"].to_pylist()
    assert reference["event_time"].to_pylist() == run.test["at"].cast(pa.timestamp("us", "UTC")).to_pylist()
    assert reference["received.x"].to_pylist() == run.test["x"].to_pylist()
    assert reference["received.plan"].to_pylist() == run.test["plan"].to_pylist()
    assert "customer" not in str(reference.column_names)
    if task == "regression":
        assert reference["decision"].null_count == reference.num_rows
        assert [float(text) for text in reference["label"].to_pylist()] == run.test["label"].to_pylist()
    else:
        right = np.array(reference["decision"].to_pylist()) == np.array(reference["label"].to_pylist())
        assert measured.metrics["accuracy"].value == pytest.approx(right.mean())


def test_a_large_reference_is_a_sample_in_the_order_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_rows, "ROWS_MAX", 50)
    Run(tmp_path, "binary").evaluate()

    reference = pq.read_table(tmp_path / "evaluation" / "reference.parquet")
    times = reference["event_time"].to_pylist()
    assert len(set(times)) == 50 and times == sorted(times)


def test_the_same_seed_measures_the_same_and_another_seed_other_intervals(tmp_path):
    run = Run(tmp_path, "binary")

    first, again, other = (run.evaluate(seed=seed).model_copy(update={"cost": None}) for seed in (7, 7, 8))

    assert first == again
    assert first.metrics["auc"].value == other.metrics["auc"].value
    assert first.metrics["auc"].low != other.metrics["auc"].low


def test_a_better_champion_shows_in_the_paired_comparison(tmp_path):
    run = Run(tmp_path, "binary")
    run.champion("4")
    run.package("champion/package", 2.0)
    shutil.rmtree(tmp_path / "model")
    run.package("model", -2.0)

    measured = run.evaluate()

    assert measured.champion == ComparedChampion(version="4", compared=True, reason=None)
    assert measured.comparisons.champion.high < 0
    assert measured.baselines.champion["auc"] > measured.metrics["auc"].value
    assert measured.value.champion_total > measured.value.total


def test_probabilities_and_decisions_are_compared_at_each_models_own_threshold(tmp_path):
    run = Run(tmp_path, "binary")
    run.champion("4")
    run.package("champion/package", 1.0, threshold=0.8)

    measured = run.evaluate()

    positives = (run.test.column("label").to_numpy() == "yes").sum()
    log_loss, share = measured.probabilities.champion, measured.decisions.champion
    assert (log_loss.metric, share.metric) == ("log_loss", "value_share")
    assert log_loss.difference == pytest.approx(
        measured.metrics["log_loss"].value - measured.baselines.champion["log_loss"]
    )
    assert share.difference == pytest.approx((measured.value.total - measured.value.champion_total) / (4 * positives))
    assert share.low < share.difference < share.high
    assert share.low > 0
    assert (measured.directions["log_loss"], measured.directions["value_share"]) == (False, True)


def test_without_a_value_decisions_are_compared_in_accuracy(tmp_path):
    measured = Run(tmp_path, "multiclass").evaluate()

    compared = measured.decisions.plain
    assert compared.metric == "accuracy"
    assert compared.difference == pytest.approx(
        measured.metrics["accuracy"].value - measured.baselines.plain["accuracy"]
    )


def test_a_regression_is_compared_in_its_larger_errors_and_decides_nothing(tmp_path):
    run = Run(tmp_path, "regression")

    measured = run.evaluate()

    rows = pq.read_table(tmp_path / "evaluation" / "predictions.parquet")
    truth = rows.column("label").to_numpy()
    candidate, plain = (
        np.quantile(np.abs(rows.column(model).to_numpy() - truth), 0.9, method="inverted_cdf") / truth.std()
        for model in ("candidate", "plain")
    )
    assert measured.decisions is None
    assert measured.probabilities.plain.metric == "scaled_error_p90"
    assert measured.probabilities.plain.difference == pytest.approx(candidate - plain)
    assert measured.metrics["scaled_error_p90"].value == pytest.approx(candidate)


def test_rows_that_the_champion_was_trained_on_judge_nobody(tmp_path):
    run = Run(tmp_path, "binary")
    run.champion("1")
    run.package("champion/package", 1.0, seen=seen(run.test.slice(0, 150)))

    measured = run.evaluate()

    assert unclassed(measured.rows) == judging(250, by_champion=150)
    left = pq.read_table(tmp_path / "evaluation" / "predictions.parquet").column("entity")
    assert left.to_pylist() == run.test.column("id").slice(150).to_pylist()


def test_rows_of_training_and_validation_judge_nobody_however_their_keys_are_kept(tmp_path):
    train, validation = table("binary", 600, 1).slice(0, 30), table("binary", 200, 2).slice(0, 20)
    run = Run(tmp_path, "binary", pa.concat_tables([train, validation, table("binary", 300, 3)]))
    shutil.rmtree(tmp_path / "model")
    run.package("model", 2.0, seen=seen(table("binary", 300, 3).slice(0, 40)))

    assert unclassed(run.evaluate().rows) == judging(260, by_split=90)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_the_report_says_how_old_the_oldest_row_is_that_a_model_has_learned_from(tmp_path, zone):
    """Also one that only the model has seen which the candidate continues."""
    run, train = Run(tmp_path, "binary"), table("binary", 600, 1)
    times = pa.array(np.arange(600)[::-1] * 3_600_000_000, pa.timestamp("us"))
    times = times if zone is None else times.cast(pa.timestamp("us", zone))
    shutil.rmtree(tmp_path / "model")
    run.package("model", 2.0, seen=seen(train.set_column(1, "at", times)))

    assert run.evaluate().rows.oldest_trained == "1970-01-01T00:00:00+00:00"
    assert run.evaluate().rows.champion_oldest_trained is None
    run.champion("1")
    run.package("champion/package", 1.0, seen=seen(table("binary", 20, 5)))
    assert run.evaluate().rows.champion_oldest_trained == exclusion.oldest(
        exclusion.seen(tmp_path / "champion" / "package")
    )


def test_a_row_that_both_models_have_seen_is_counted_once(tmp_path):
    run = Run(tmp_path, "binary")
    shutil.rmtree(tmp_path / "model")
    run.package("model", 2.0, seen=seen(run.test.slice(0, 30)))
    run.champion("1")
    run.package("champion/package", 1.0, seen=seen(run.test.slice(20, 30)))

    assert unclassed(run.evaluate().rows) == judging(350, by_split=30, by_champion=20)


def test_the_same_entity_at_another_time_is_another_row(tmp_path):
    run = Run(tmp_path, "binary")
    earlier = seen(run.test)
    moved = earlier.set_column(1, "at", pa.array(np.arange(400) * 3_600_000_000 + 1, pa.timestamp("us", "UTC")))
    shutil.rmtree(tmp_path / "model")
    run.package("model", 2.0, seen=moved)

    assert run.evaluate().rows.excluded_seen == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "regression", "classes": None}, "its task is regression, the project's is binary"),
        ({"classes": ["0", "1"]}, r"its classes are \['0', '1'\], the candidate's are \['no', 'yes'\]"),
        ({"numeric": {"x": [1.0], "gone": [1.0]}}, r"it needs the features \['gone'\], which the test rows no longer"),
        ({"numeric": {"x": [1.0], "plan": [1.0]}, "categorical": {}}, "feature 'plan' is numeric .* but has the type"),
    ],
)
def test_a_champion_of_another_kind_is_not_compared_and_the_report_says_why(tmp_path, changes, sentence):
    run = Run(tmp_path, "binary")
    run.champion("2")
    run.package("champion/package", 1.0, **changes, seen=seen(run.test))

    measured = run.evaluate()

    assert measured.comparisons.champion is None
    assert measured.champion.compared is False
    assert measured.rows.test == 400
    with pytest.raises(AssertionError, match=f"champion version 2 cannot be compared: {sentence}"):
        raise AssertionError(measured.champion.reason)


def test_when_the_champion_has_seen_every_test_row_nothing_can_be_judged(tmp_path):
    run = Run(tmp_path, "binary")
    run.champion("3")
    run.package("champion/package", 1.0, seen=seen(run.test))

    with pytest.raises(InputError, match="all 400 test rows were seen in training, 0 by this model and 400 by"):
        run.evaluate()
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("task", "keep", "sentence"),
    [
        ("binary", lambda rows: rows.slice(0, 0), "no test row is left"),
        ("binary", lambda rows: rows.filter(pa.compute.equal(rows["label"], "no")), "label 'label' is 'no' in all"),
        ("regression", lambda rows: rows.slice(0, 1), "in all 1 test rows"),
    ],
)
def test_test_rows_that_cannot_judge_are_bad_input(tmp_path, task, keep, sentence):
    with pytest.raises(InputError, match=sentence):
        Run(tmp_path, task, keep(table(task, 300, 3))).evaluate()


def test_a_third_label_of_a_binary_task_is_bad_input(tmp_path):
    rows = table("binary", 100, 3)
    rows = rows.set_column(2, "label", pa.array(["maybe", *rows["label"].to_pylist()[1:]]))

    with pytest.raises(
        InputError, match=r"has the values \['maybe'\] in the test rows, which are unknown to the model"
    ):
        Run(tmp_path, "binary", rows).evaluate()


def test_a_class_that_the_model_never_saw_counts_against_it(tmp_path):
    rows = table("multiclass", 300, 3)
    rows = rows.set_column(2, "label", pa.array([7] * 60 + rows["label"].to_pylist()[60:]))

    measured = Run(tmp_path, "multiclass", rows).evaluate()

    assert measured.confusion.labels == ("0", "1", "2", "7")
    assert [row[3] for row in measured.confusion.matrix] == [0, 0, 0, 0]
    assert measured.metrics["accuracy"].value < 0.8


def test_a_class_without_test_rows_does_not_stop_a_measurement(tmp_path):
    rows = table("multiclass", 300, 3)

    measured = Run(tmp_path, "multiclass", rows.filter(pa.compute.not_equal(rows["label"], 1))).evaluate()

    assert measured.metrics["auc_ovr"].value > 0.8
    assert sum(measured.confusion.matrix[1]) == 0


def test_a_slice_by_an_unknown_column_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"names the column 'plam', .* did you mean 'plan'"):
        Run(tmp_path, "binary").evaluate(slices=["plam"])


def test_a_model_that_answers_with_no_number_is_refused(tmp_path):
    run = Run(tmp_path, "regression")
    shutil.rmtree(tmp_path / "model")
    run.package("model", float("inf"))

    with pytest.raises(StepFailed, match="scores are not finite"):
        run.evaluate()


def test_metrics_and_curves_are_logged_as_kfp_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    from kfp.dsl import ClassificationMetrics, Metrics

    measured, metrics, curves = Run(tmp_path, "binary").evaluate(), Metrics(), ClassificationMetrics()

    logic.log_metrics(measured, metrics)
    logic.log_curves(measured, curves)

    assert metrics.metadata["auc"] == measured.metrics["auc"].value
    assert metrics.metadata["auc_low"] < metrics.metadata["auc"] < metrics.metadata["auc_high"]
    assert metrics.metadata["size_mib"] > 0
    assert len(curves.metadata["confidenceMetrics"]) == len(measured.roc.fpr)
    assert [tuple(row["row"]) for row in curves.metadata["confusionMatrix"]["rows"]] == [*measured.confusion.matrix]


def test_a_regression_logs_no_curves(tmp_path, monkeypatch):
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    from kfp.dsl import ClassificationMetrics

    curves = ClassificationMetrics()
    logic.log_curves(Run(tmp_path, "regression").evaluate(), curves)

    assert curves.metadata == {}
