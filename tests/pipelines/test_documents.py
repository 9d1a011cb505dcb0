"""Every document is read back as it was written, an older version is upgraded, and what is invalid says what to do."""

import json
from pathlib import Path

import pytest

from components.shared.documents.accepted import AcceptedRecord
from components.shared.documents.batch_scores import BatchScores
from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.data_quality import DataQuality
from components.shared.documents.document import Document
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.findings import ValidationFindings
from components.shared.documents.measurements import Metric
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_reference import PackageReference
from components.shared.documents.package_sample import PackageSample
from components.shared.documents.preprocessing import PackagePreprocessing
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.skew import SkewReport
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.documents.split import SplitSummary
from components.shared.documents.start import StartRecord
from components.shared.documents.study import StudySummary
from components.shared.documents.tfx_evaluation import TfxEvaluation
from components.shared.documents.tfx_inputs import TfxInputs
from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.documents.training_history import TrainingHistory
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.documents.trials import Trials
from components.shared.documents.verdict import Verdict
from components.shared.errors import StepFailed
from components.shared.package import integrity
from pipelines.images.environments import ROOT
from pipelines.runs.report import documents as report_documents
from pipelines.runs.report import render
from tests import documents

VERSION_0 = ROOT / "tests" / "version_0"
PACKAGE = VERSION_0 / "package"
OLD: dict[type[Document], Path] = {
    AcceptedRecord: VERSION_0, BestHyperparameters: VERSION_0, ChampionRecord: VERSION_0, EvaluationReport: VERSION_0,
    ValidationFindings: VERSION_0, SnapshotDescription: VERSION_0, SplitSummary: VERSION_0, StudySummary: VERSION_0,
    RegisteredVersion: VERSION_0, TrainingSetSummary: VERSION_0, Trials: VERSION_0, Verdict: VERSION_0 / "verdict.json",
    ModelFacts: PACKAGE, PackageManifest: PACKAGE, PackageSample: PACKAGE, TrainingHistory: PACKAGE,
}  # fmt: skip
NEWER = {
    PackageReference,
    LogWindow,
    DriftReport,
    PerformanceReport,
    DataQuality,
    MonitoringDecision,
    TrafficCounts,
    BatchScores,
    TfxInputs,
    TfxEvaluation,
    SkewReport,
    PackagePreprocessing,
    StartRecord,
    FeatureViews,
}
"""Documents that have had a version from the first."""


@pytest.mark.parametrize("document", documents.every(), ids=lambda document: type(document).__name__)
def test_a_document_is_read_back_as_it_was_written_and_equal_documents_are_equal_bytes(tmp_path, document):
    file = document.write(tmp_path / "artifact")
    again = type(document).read(tmp_path / "artifact")

    assert again == document
    assert json.loads(file.read_text())["schema_version"] == document.VERSION
    assert again.write(tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("kind", OLD, ids=lambda kind: kind.__name__)
def test_a_document_of_version_0_holds_what_it_held(kind):
    raw = json.loads(kind.at(OLD[kind]).read_text())

    document = kind.read(OLD[kind]).as_json()

    assert document.pop("schema_version") == kind.VERSION
    if kind is ValidationFindings:
        assert document.pop("comparisons") == {}
        columns = [column for table in document["tables"].values() for column in table["columns"]]
        assert {(column.pop("first"), column.pop("last")) for column in columns} == {(None, None)}
    elif kind is SnapshotDescription:
        assert {table.pop("repeated_headers") for table in document["tables"].values()} == {0}
        assert all(table.pop("unconverted") == {} for table in document["tables"].values())
    elif kind is SplitSummary:
        assert document.pop("repeated_test_rows") is None
    elif kind is TrainingSetSummary:
        assert document.pop("left_out_decided") == 0
    elif kind is TrainingHistory:
        assert document.pop("families") == {}
    elif kind is ModelFacts:
        assert (document.pop("family"), document.pop("description")) == ("network", "")
        assert document.pop("is_additive") is False
        assert document.pop("conformal") is None
    elif kind is Trials:
        document = document["trials"]
        assert {trial.pop("family") for trial in document} == {"network"}
    elif kind is BestHyperparameters:
        assert document["trees"] == {}
        document = document["hyperparameters"]
    elif kind is EvaluationReport:
        assert [column.pop("positive") for column in document["fairness"]] == ["1"] * len(raw["fairness"])
        raw["fairness"] = [{k: v for k, v in column.items() if k != "class"} for column in raw["fairness"]]
        errors = ("mean_error", "mae", "rmse")
        absent = {
            group.pop(e) for column in document["fairness"] for group in column["groups"].values() for e in errors
        }
        bounds = [f"{gap}_{end}" for gap in ("demographic_parity", "equalized_odds") for end in ("low", "high")]
        absent |= {column.pop(bound) for column in document["fairness"] for bound in bounds}
        absent |= {
            group.pop(f"selection_rate_{end}")
            for column in document["fairness"]
            for group in column["groups"].values()
            for end in ("low", "high")
        }
        assert absent == {None}
        assert [document.pop(name) for name in ("ranking", "scores", "fit")] == [None] * 3
        assert document.pop("coverage") == []
        assert document.pop("distributions") == [] and document["rows"].pop("parts") == {}
        assert document.pop("probabilities") is None
        assert document.pop("decisions") is None
        assert document.pop("family") == "network"
        assert document.pop("single_column") is document.pop("old_rows") is None
        assert document["rows"].pop("by_class") == {}
        assert document["rows"].pop("oldest_trained") is document["rows"].pop("champion_oldest_trained") is None
        assert {document["value"].pop("absolute"), document["value"].pop("nobody")} == {None}
    elif kind is RegisteredVersion:
        assert document.pop("registration") is None
    elif kind is Verdict:
        assert {ruling.pop("remark") for ruling in document["rules"]} == {None}
    assert document == raw


def test_every_document_has_a_sample_and_a_sample_of_version_0():
    kinds = {type(document) for document in documents.every()}

    assert kinds == set(OLD) | NEWER


def test_a_registered_package_of_version_0_is_intact():
    integrity.verify(PACKAGE)

    facts, sample = ModelFacts.read(PACKAGE), PackageSample.read(PACKAGE)
    assert {*facts.numeric, *facts.categorical} == set(sample.rows[0])


def test_a_run_of_version_0_is_shown(tmp_path):
    artifacts = {
        "ingestion.snapshot": VERSION_0, "data_validation.statistics": VERSION_0, "champion.model": VERSION_0,
        "feature_retrieval.training_set": VERSION_0, "split.splits": VERSION_0, "tuning.study": VERSION_0,
        "training.model": PACKAGE, "evaluation.report": VERSION_0, "gate.verdict": VERSION_0 / "verdict.json",
        "registration.release": VERSION_0, "registration.card": VERSION_0 / "README.md",
    }  # fmt: skip
    paths = {name: str(path) for name, path in artifacts.items()}
    run = {"id": "1", "project": "churn", "state": "finished", "exit_code": 0, "steps": [], "artifacts": paths}

    page = render(run, tmp_path).read_text()

    documents = vars(report_documents.read(paths))
    # A training run that released a version has none of these.
    others = {"advice", "materialization", "window", "drift", "performance", "quality", "decision", "cadence", "skew"}
    assert {name for name, document in documents.items() if document is None} == others
    for text in ("Version 1 was released", "0.797", "2,219 EUR", "true positive rate", "data_change = missing"):
        assert text in page


def test_a_newer_version_says_to_upgrade(tmp_path):
    file = documents.verdict().write(tmp_path / "verdict")
    file.write_text(file.read_text().replace('"schema_version": 2', '"schema_version": 3'))

    with pytest.raises(StepFailed, match=r"verdict has schema version 3, .* reads up to 2; upgrade Perennial"):
        Verdict.read(file)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"promote": tr', r"is not valid JSON .*; run the step that wrote it again"),
        ("[1]", "holds a JSON list, expected an object"),
        ('{"promote": true}', r"is not a valid Verdict \(schema version 0\): first_release: Field required; run the"),
        (
            '{"promote": true, "first_release": true, "rules": [], "note": 1}',
            "is not a valid .* note: Extra inputs are not permitted",
        ),
        ('{"schema_version": "one"}', "has schema version 'one'"),
    ],
)
def test_an_invalid_file_is_one_sentence_with_its_name(tmp_path, content, sentence):
    (tmp_path / "verdict").write_text(content)

    with pytest.raises(StepFailed, match=f"verdict {sentence}"):
        Verdict.read(tmp_path / "verdict")


def test_a_folder_without_its_document_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"evaluation\.json"):
        EvaluationReport.read(tmp_path)


@pytest.mark.parametrize("undefined", [float("nan"), float("inf"), float("-inf")])
def test_what_is_undefined_is_none_and_nan_is_refused_where_a_number_is_needed(undefined):
    assert Metric(value=undefined, low=0.1, high=0.2).value is None
    with pytest.raises(ValueError, match="finite"):
        documents.cost(size_mib=undefined)


def test_a_document_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        documents.verdict().promote = False


def test_each_file_name_belongs_to_one_document():
    names = [kind.FILE for kind in OLD]

    assert len(set(names)) == len(names)
