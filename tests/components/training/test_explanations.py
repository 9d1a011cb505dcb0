"""Every family's package explains its scores, whatever the task; one that adds features up says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

from components.shared.documents.package_reference import REFERENCE_ROWS, PackageReference
from components.shared.package.model_package import ModelPackage
from components.shared.package.table_model import TableModel
from components.training.families.catalog import FAMILIES
from tests.components import made_splits
from tests.components.training.test_tasks import trained

CAUSES = {"usage", "plan", "paperless", "spent"}


def explained(folder: Path, family: str, task: str = "binary", **hyperparameters: Any) -> tuple[ModelPackage, Any, Any]:
    """Train one family; return its package, test rows as tensors, and the explanations of three of them."""
    project = made_splits.project(task, training={"epochs": 15})
    _, _, test = trained(folder, project, made_splits.table(task, rows=2000), family, **hyperparameters)
    model = TableModel.open(folder / "model")
    tensors = model.inputs(test).feed()
    explainer = model.package.explainer()
    assert explainer is not None
    return model.package, tensors, [explainer.explain(tensors, row) for row in range(3)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_base_and_contributions_add_up_to_the_margin_which_gives_the_score(tmp_path, family, task):
    package, tensors, rows = explained(tmp_path, family, task)
    scores = package.score({name: values[:3] for name, values in tensors.items()})

    for score, row in zip(scores, rows, strict=True):
        size = max(1.0, float(np.abs(row.margin).max()))
        assert row.base + row.by_feature.sum(axis=0) == pytest.approx(row.margin, abs=1e-6 * size)
        final = {"binary": scipy.special.expit, "multiclass": scipy.special.softmax}.get(task, lambda margin: margin)
        assert np.squeeze(final(row.margin)) == pytest.approx(score, abs=1e-5 * size)


def test_the_plain_model_and_a_network_without_hidden_layers_add_features_up(tmp_path):
    for name, family, hyperparameters, adds_up in (
        ("plain", "plain", {}, True),
        ("flat", "network", {"hidden": "none"}, True),
        ("deep", "network", {"hidden": "16"}, False),
        ("trees", "trees", {}, False),
    ):
        package, tensors, rows = explained(tmp_path / name, family, **hyperparameters)
        assert package.facts.is_additive is adds_up, name
        if adds_up:
            # Without interactions sampling is exact, too, so the shortcut must give the same answer.
            sampled = package.explainer()
            assert sampled is not None
            other = type(sampled)(sampled.margins, sampled.reference, False).explain(tensors, 0)
            assert other.by_feature == pytest.approx(rows[0].by_feature, abs=1e-5)
            assert other.error.max() < 1e-5


def test_what_decides_the_answer_contributes_more_than_what_does_not(tmp_path):
    package, tensors, _ = explained(tmp_path, "trees")
    explainer = package.explainer()
    assert explainer is not None
    size = np.mean([np.abs(explainer.explain(tensors, row).by_feature[:, 0]) for row in range(40)], axis=0)
    by_name = dict(zip((*package.facts.numeric, *package.facts.categorical), size, strict=True))

    assert min(by_name[name] for name in ("usage", "paperless")) > 2 * max(by_name["age"], by_name["region"])


def test_the_reference_is_training_rows_with_their_gaps(tmp_path):
    package, _, _ = explained(tmp_path, "plain")
    reference = PackageReference.read(package.folder)
    train = made_splits.table(rows=2000).slice(0, 1200).to_pylist()
    training_rows = {(row["usage"] and np.float32(row["usage"]), float(row["age"]), row["region"]) for row in train}

    numeric, categorical = package.facts.numeric, package.facts.categorical
    for numbers, texts in zip(reference.numeric, reference.categorical, strict=True):
        row = dict(zip((*numeric, *categorical), (*numbers, *texts), strict=True))
        assert (row["usage"], row["age"], row["region"]) in training_rows
    assert len(set(reference.numeric)) == REFERENCE_ROWS
