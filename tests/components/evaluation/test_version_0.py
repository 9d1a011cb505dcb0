"""A champion that was registered before documents had a version is still compared."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from components.evaluation.incumbent import incumbent
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample
from components.shared.project import Project

VERSION_0 = Path(__file__).parents[2] / "version_0"


def test_a_champion_of_version_0_scores_the_rows_of_today(tmp_path):
    shutil.copytree(VERSION_0 / "package", tmp_path / "package")
    (tmp_path / "champion.json").write_text('{"fingerprint": "f", "run_id": "r", "version": "1"}\n')
    facts = ModelFacts.read(VERSION_0 / "package")
    project = Project.model_validate(
        {
            "name": "churn",
            "task": "binary",
            "entity": "customer_id",
            "event_time": "snapshot_at",
            "sources": {"labels": {"path": "labels.parquet"}},
            "label": {"source": "labels", "column": "churned"},
            "features": {"service": "churn", "columns": {f.name: {"type": f.type} for f in facts.features}},
        }
    )
    sample = PackageSample.read(VERSION_0 / "package")
    rows = pa.Table.from_pylist([dict(row) for row in sample.rows])

    champion = incumbent(project, tmp_path, rows, ["0", "1"])

    assert (champion.version, champion.reason) == ("1", None)
    assert champion.package.score(champion.package.inputs(rows)).tolist() == pytest.approx([*sample.scores], abs=1e-6)
    assert sum(group.num_rows for group in champion.seen.groups()) == 20
