"""TFX's pipeline of a project: its standard components, in the order of Google's template."""

from typing import Any

import tensorflow_model_analysis as tfma
from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent

from components.shared.documents.tfx_inputs import TfxInputs
from components.shared.errors import InputError
from components.shared.project import Project
from components.tfx_training.records import PARTS

BEAM = ("--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner", "--no_pipeline_type_check")
"""Beam runs in the component's process: its default runner would download a program."""
_METRICS = {
    "binary": ("ExampleCount", "AUC", "BinaryCrossentropy"),
    "multiclass": ("ExampleCount", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
    "regression": ("ExampleCount", "MeanSquaredError", "MeanAbsoluteError"),
}
"""TFX's metrics of a task."""
_COMPARED = {
    "binary": ("AUC", "lower_bound"),
    "multiclass": ("SparseCategoricalAccuracy", "lower_bound"),
    "regression": ("MeanSquaredError", "upper_bound"),
}
"""The metric by which a model is compared with one without features, and the side on which that one is."""
_OURS = {
    "auc": "AUC", "log_loss": "BinaryCrossentropy", "accuracy": "SparseCategoricalAccuracy",
    "mae": "MeanAbsoluteError",
}  # fmt: skip
"""Our names of the metrics that the gate's floors and ceilings may name -> TFX's."""


def components(described: TfxInputs, inputs: str, pushed: str) -> list[BaseComponent]:
    """Return the components, from the examples to the pushed model.

    Args:
        described: What the pipeline is made for.
        inputs: Folder with ``schema.pbtxt`` and ``examples/`` (``train``, ``eval``, ``test``).
        pushed: Where a blessed model goes.

    Raises:
        InputError: If a floor or ceiling of the gate is of a metric that TFX does not have.
    """
    project = described.project
    splits = [tfx.proto.Input.Split(name=name, pattern=f"{name}/*") for name in PARTS.values()]
    config: dict[str, Any] = {
        "project": project.model_dump_json(),
        "hyperparameters": described.hyperparameters.model_dump_json(),
    }
    example_gen = tfx.components.ImportExampleGen(
        input_base=f"{inputs}/examples", input_config=tfx.proto.Input(splits=splits)
    )
    examples = example_gen.outputs["examples"]
    statistics = tfx.components.StatisticsGen(examples=examples)
    schema = tfx.components.ImportSchemaGen(schema_file=f"{inputs}/schema.pbtxt")
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="components.tfx_training.transform.preprocessing_fn",
        custom_config=config,
        # StatisticsGen has those of the raw rows already.
        disable_statistics=True,
    )
    label = {name: getattr(described, name) for name in ("task", "classes", "mean", "scale")}
    trainer = tfx.components.Trainer(
        run_fn="components.tfx_training.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config=config | {"seed": described.seed, "label": label},
    )
    evaluator = tfx.components.Evaluator(
        examples=examples,
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=evaluation(project, described.baseline),
        example_splits=["test"],
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=pushed)
        ),
    )
    return [example_gen, statistics, schema, validator, transform, trainer, evaluator, pusher]


def evaluation(project: Project, baseline: float) -> tfma.EvalConfig:
    """Return what the Evaluator measures, on which slices, and which values bless a model.

    The gate's floors and ceilings become thresholds. A model must also be better than one without features.

    Args:
        project: The use case.
        baseline: What a model without features reaches; see ``TfxInputs``.

    Raises:
        InputError: If a floor or ceiling is of a metric that TFX does not have.
    """
    bounded = {ours for ours, theirs in _OURS.items() if theirs in _METRICS[project.task]}
    bounds: dict[str, dict[str, float]] = {}
    for side, limits in (("lower_bound", project.gate.floors), ("upper_bound", project.gate.ceilings)):
        for ours, value in limits.items():
            if ours not in bounded:
                raise InputError(
                    f"the gate bounds {ours!r}, which TFX's Evaluator does not have for a {project.task} model; "
                    f"expected some of {sorted(bounded)}. Remove it for the pipeline tfx-training."
                )
            bounds.setdefault(_OURS[ours], {})[side] = value
    metric, side = _COMPARED[project.task]
    bounds.setdefault(metric, {}).setdefault(side, baseline)
    metrics = []
    for name in _METRICS[project.task]:
        metric = tfma.MetricConfig(class_name=name)
        if name in bounds:
            threshold = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(**_wrapped(bounds[name])))
            metric.threshold.CopyFrom(threshold)
        metrics.append(metric)
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key=project.label.column)],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            tfma.SlicingSpec(), *(tfma.SlicingSpec(feature_keys=list(part)) for part in project.evaluation.parts)
        ],
    )  # fmt: skip


def _wrapped(bounds: dict[str, float]) -> dict[str, Any]:
    return {side: {"value": value} for side, value in bounds.items()}
