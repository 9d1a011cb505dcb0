"""Run TFX's pipeline on the rows of a split, with ML Metadata in SQLite, and keep what it made."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.shared import bundle
from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.tfx_evaluation import TfxEvaluation
from components.shared.documents.tfx_inputs import TfxInputs
from components.shared.errors import GateRejected
from components.tfx_training import records, schema

METADATA = "metadata.sqlite"


def train(project_bundle: Path, splits: Path, study: Path, seed: int, out: Path, root: Path) -> dict[str, float | str]:
    """Train, evaluate and push.

    Args:
        project_bundle: The project bundle, with the reviewed schemas.
        splits: Folder with ``train.parquet``, ``validation.parquet`` and ``test.parquet``.
        study: Folder with ``best.json``, the hyperparameters that tuning chose.
        seed: Of the weights and the order of the rows.
        out: Where ``tfx_evaluation.json`` goes, the blessed ``saved_model``, and ``package``, the same for our server.
        root: Where TFX keeps what its components make, and ML Metadata.

    Returns:
        A few facts about the model, for the artifact's metadata.

    Raises:
        InputError: If the rows, a reviewed schema or the gate's bounds do not suit TFX.
        GateRejected: If the Evaluator does not bless the model.
    """
    from tfx import v1 as tfx

    from components.shared.learning import fitting
    from components.tfx_training import chain, package

    # Before TensorFlow computes anything, which Transform does first.
    fitting.steady(seed)
    project = bundle.project(str(project_bundle))
    tuned = BestHyperparameters.read(study)
    (inputs := root / "inputs").mkdir(parents=True)
    label = records.write(project, splits, inputs / "examples")
    schema.write(project, project_bundle, inputs)
    described = TfxInputs(
        project=project,
        hyperparameters=project.training.tuned("network", tuned.hyperparameters),
        seed=seed,
        baseline=label.baseline,
        **asdict(label.encoding),
    )
    described.write(inputs)
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=f"{project.name}-tfx",
        pipeline_root=str(root / "components"),
        components=chain.components(described, str(inputs), str(root / "pushed")),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(root / METADATA)),
        beam_pipeline_args=list(chain.BEAM),
        enable_cache=False,
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    measured = _measured(root)
    out.mkdir(parents=True, exist_ok=True)
    measured.write(out)
    if not measured.blessed:
        why = "; ".join(measured.failures) or "it gives no reason"
        raise GateRejected(f"TFX's Evaluator did not bless the model: {why}; nothing was pushed.")
    (pushed,) = (root / "pushed").iterdir()
    shutil.copytree(pushed, out / "saved_model")
    package.write(project, out / "saved_model", splits, out / "package")
    facts: dict[str, float | str] = dict(measured.metrics)
    return facts | {"blessed": str(measured.blessed)}


def _measured(root: Path) -> TfxEvaluation:
    """Read what the Evaluator measured and decided, by way of ML Metadata."""
    import tensorflow_model_analysis as tfma

    evaluated, blessed = _newest(root, "ModelEvaluation"), _newest(root, "ModelBlessing")
    metrics: dict[str, float] = {}
    slices: dict[str, dict[str, float]] = {}
    for key, values in tfma.load_eval_result(evaluated.uri).slicing_metrics:
        named = {name: float(value["doubleValue"]) for name, value in values[""][""].items() if "doubleValue" in value}
        if key:
            slices[", ".join(f"{feature} = {value}" for feature, value in key)] = named
        else:
            metrics = named
    validation: Any = tfma.load_validation_result(evaluated.uri)
    failures = [
        f"{failure.metric_key.name} is {failure.metric_value.double_value.value:.4g}"
        for listed in validation.metric_validations_per_slice
        for failure in listed.failures
    ]
    anomalies = _anomalies(_newest(root, "ExampleAnomalies").uri)
    is_blessed = blessed.custom_properties["blessed"].int_value == 1
    return TfxEvaluation(
        metrics=metrics,
        slices=slices,
        anomalies=anomalies,
        blessed=is_blessed,
        failures=tuple(failures),
    )


def _anomalies(uri: str) -> tuple[str, ...]:
    """Read what ExampleValidator found in each split."""
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    sentences = []
    for file in sorted(Path(uri).glob("Split-*/SchemaDiff.pb")):
        read = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        split = file.parent.name.removeprefix("Split-")
        sentences += [f"{split}: {name}: {info.description}" for name, info in sorted(read.anomaly_info.items())]
    return tuple(sentences)


def _newest(root: Path, kind: str) -> Any:
    from ml_metadata import metadata_store
    from tfx import v1 as tfx

    config = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(root / METADATA))
    return max(metadata_store.MetadataStore(config).get_artifacts_by_type(kind), key=lambda artifact: artifact.id)
