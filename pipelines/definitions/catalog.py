"""The catalogue of pipelines: whatever works with a pipeline finds it here, by its entry.

To add a pipeline, write its function in a module of this folder and its entry in ``PIPELINES``.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from components.shared.errors import InputError
from components.shared.images import image
from pipelines import runs
from pipelines.definitions import closing, tracing
from pipelines.definitions.kept import kept
from pipelines.images import environments

DEFAULT = "training"


@dataclass(frozen=True)
class RunContext:
    """What a backend knows when a run starts. Each field has the name of the pipeline parameter that takes it."""

    project_uri: str
    """The project bundle."""
    source_root: str
    """The folder that the paths of sources are relative to."""
    source_hash: str
    """Content of the sources; a value that is new in every run where they cannot be hashed."""
    registry_uri: str
    registry_state: str
    """Digest of what the registry holds; empty if it is unknown; then nothing is cached by it."""
    study_storage: str
    endpoint: str
    online_store: str
    inference_log: str
    """Folder of the inference log."""
    labels: str
    """Folder of the labels that became known later."""
    incidents: str
    """Folder in a bucket with incidents; empty where the command keeps them on its own machine."""
    metrics: str
    """Push gateway for what monitoring measured; empty where the command leaves it on its own machine, or nowhere."""
    scores: str
    """Folder of the batches of scores; an empty text keeps them in the run's artifact."""
    snapshot_uri: str
    """The snapshot of an earlier run, empty if a run takes none."""
    champion_uri: str
    """The champion that an earlier run compared its candidate with; likewise."""
    start_uri: str
    """What the training of an earlier run began with; likewise."""
    code: Mapping[str, str]
    """The commit and the image references that the run uses."""
    seed: int
    window_start: str
    """ISO time, UTC, exclusive; an empty text is no limit."""
    window_end: str
    """ISO time, UTC, inclusive; an empty text is no limit."""
    most_rows: int
    """Compare about so many logged rows; 0 compares all."""


@dataclass(frozen=True)
class PipelineEntry:
    """One pipeline: what it is called, how it is called, and what a finished run of it means."""

    name: str
    load: Callable[[], Any]
    """Imports the pipeline's function; kfp takes seconds to import, so nothing is imported before."""
    endings: Mapping[str, int]
    """Step -> the exit code of a run in which that step finished; the first that applies."""
    sections: tuple[str, ...]
    """Sections of the report, see ``pipelines/runs/report/sections``."""
    closing: Callable[[runs.Run], Sequence[str]] = field(default=closing.finished)
    """What the command says at the end of a finished run, one sentence a line."""
    goes_on: tuple[str, ...] = ()
    """Steps that end a run only if they return False; after True, further steps have to end it."""
    module: str | None = None
    """The module that ``load`` imports: what kfp derives from it is kept in the user's cache. None keeps nothing."""

    @functools.cached_property
    def definition(self) -> Any:
        """The pipeline as kfp knows it."""
        return self.load()

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order of the pipeline's source, which is an order in which they can run."""
        return tuple(self._interface["steps"])

    @functools.cached_property
    def _interface(self) -> dict[str, list[str]]:
        """The names of steps and parameters."""
        interface: dict[str, list[str]] = kept(self.module, "interface", self._traced)
        return interface

    def _traced(self) -> dict[str, list[str]]:
        step_of_image = {image(step): step for step in environments.steps()}
        steps: dict[str, None] = {}

        def visit(task: Any) -> None:
            if task.container_spec is not None:
                steps.setdefault(step_of_image[task.container_spec.image])

        tracing.traced(self.definition, visit)
        return {"steps": list(steps), "parameters": sorted(self.definition.component_spec.inputs or {})}

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the pipeline's parameters."""
        return frozenset(self._interface["parameters"])

    @property
    def releases(self) -> bool:
        """Whether a run may release a model, so that an endpoint has to be running."""
        return "endpoint" in self.parameters

    @property
    def reads_registry(self) -> bool:
        """Whether the results depend on what the registry holds."""
        return "registry_state" in self.parameters

    @property
    def reads_log(self) -> bool:
        """Whether the pipeline reads the inference log of an endpoint."""
        return "inference_log" in self.parameters

    def arguments(self, context: RunContext) -> dict[str, Any]:
        """Return the pipeline's arguments: the fields of the context that it has a parameter for.

        Raises:
            InputError: If the pipeline makes an earlier run again, and the context names none.
        """
        if "snapshot_uri" in self.parameters and not context.snapshot_uri:
            raise InputError(
                f"the pipeline {self.name!r} makes an earlier run again; name the run: perennial reproduce RUN."
            )
        values = {parameter.name: getattr(context, parameter.name) for parameter in dataclasses.fields(context)}
        return {name: value for name, value in values.items() if name in self.parameters}

    def exit_code(self, states: Mapping[str, str], outputs: Mapping[str, Any] = MappingProxyType({})) -> int | None:
        """Return what a run ended with; None if no ending was reached.

        Args:
            states: Step to its state.
            outputs: ``step.output`` to a value, where they are known.
        """
        ended = (
            code
            for step, code in self.endings.items()
            if states.get(step) in ("done", "cached")
            and not (step in self.goes_on and outputs.get(f"{step}.Output") is True)
        )
        return next(ended, None)


def _training() -> Any:
    from pipelines.definitions.training import training_pipeline

    return training_pipeline


def _materialization() -> Any:
    from pipelines.definitions.materialization import materialization_pipeline

    return materialization_pipeline


def _monitoring() -> Any:
    from pipelines.definitions.monitoring import monitoring_pipeline

    return monitoring_pipeline


def _monitoring_alibi() -> Any:
    from pipelines.definitions.monitoring_alibi import monitoring_alibi_pipeline

    return monitoring_alibi_pipeline


def _loop() -> Any:
    from pipelines.definitions.loop import loop_pipeline

    return loop_pipeline


def _reproduction() -> Any:
    from pipelines.definitions.reproduction import reproduction_pipeline

    return reproduction_pipeline


def _batch_scoring() -> Any:
    from pipelines.definitions.batch_scoring import batch_scoring_pipeline

    return batch_scoring_pipeline


def _skew_audit() -> Any:
    from pipelines.definitions.skew_audit import skew_audit_pipeline

    return skew_audit_pipeline


def _tfx_training() -> Any:
    from pipelines.definitions.tfx_training import tfx_training_pipeline

    return tfx_training_pipeline


def _cadence() -> Any:
    from pipelines.definitions.cadence import cadence_pipeline

    return cadence_pipeline


def _retrieval() -> Any:
    from pipelines.definitions.retrieval import retrieval_pipeline

    return retrieval_pipeline


PIPELINES: dict[str, PipelineEntry] = {
    entry.name: entry
    for entry in (
        PipelineEntry(
            name="training",
            load=_training,
            module="pipelines.definitions.training",
            endings={"rejection": runs.REJECTED, "deployment": runs.OK},
            sections=(
                "steps", "gate", "data", "features", "tuning", "metrics", "slices", "fairness", "robustness", "value",
                "card", "lineage",
            ),
            closing=closing.released,
        ),
        PipelineEntry(
            name="materialization",
            load=_materialization,
            module="pipelines.definitions.materialization",
            endings={"materialization": runs.OK},
            sections=("steps", "data", "materialization", "lineage"),
            closing=closing.materialized,
        ),
        PipelineEntry(
            name="monitoring",
            load=_monitoring,
            module="pipelines.definitions.monitoring",
            endings={"notification": runs.OK},
            sections=("steps", "monitoring", "lineage"),
            closing=closing.decided,
        ),
        PipelineEntry(
            name="monitoring-alibi",
            load=_monitoring_alibi,
            module="pipelines.definitions.monitoring_alibi",
            endings={"notification": runs.OK},
            sections=("steps", "monitoring", "lineage"),
            closing=closing.decided,
        ),
        PipelineEntry(
            name="loop",
            load=_loop,
            module="pipelines.definitions.loop",
            endings={"rejection": runs.REJECTED, "deployment": runs.OK, "decision": runs.OK},
            goes_on=("decision",),
            sections=(
                "steps", "monitoring", "gate", "data", "features", "tuning", "metrics", "slices", "fairness",
                "robustness", "value", "card", "lineage",
            ),
            closing=closing.looped,
        ),
        PipelineEntry(
            name="reproduction",
            load=_reproduction,
            module="pipelines.definitions.reproduction",
            endings={"gate": runs.OK},
            sections=(
                "steps", "gate", "features", "tuning", "metrics", "slices", "fairness", "robustness", "value",
                "lineage",
            ),
        ),
        PipelineEntry(
            name="retrieval",
            load=_retrieval,
            module="pipelines.definitions.retrieval",
            endings={"feature_retrieval": runs.OK},
            sections=("steps", "data", "lineage"),
        ),
        PipelineEntry(
            name="cadence",
            load=_cadence,
            module="pipelines.definitions.cadence",
            endings={"cadence": runs.OK},
            sections=("steps", "data", "cadence", "lineage"),
            closing=closing.recommended,
        ),
        PipelineEntry(
            name="batch-scoring",
            load=_batch_scoring,
            module="pipelines.definitions.batch_scoring",
            endings={"batch_scoring": runs.OK},
            sections=("steps", "data", "lineage"),
            closing=closing.scored,
        ),
        PipelineEntry(
            name="skew-audit",
            load=_skew_audit,
            module="pipelines.definitions.skew_audit",
            endings={"skew_audit": runs.OK},
            sections=("steps", "skew", "data", "lineage"),
            closing=closing.compared,
        ),
        PipelineEntry(
            name="tfx-training",
            load=_tfx_training,
            module="pipelines.definitions.tfx_training",
            endings={"tfx_training": runs.OK},
            sections=("steps", "data", "features", "tuning", "lineage"),
            closing=closing.trained_by_tfx,
        ),
    )
}  # fmt: skip


MONITORING = {"open": "monitoring", "alibi": "monitoring-alibi"}
"""Library of drift tests, as the project file names it, to the pipeline that uses it."""


def entry(name: str) -> PipelineEntry:
    """Return a pipeline's entry.

    Raises:
        InputError: If there is no pipeline of that name.
    """
    if name not in PIPELINES:
        raise InputError(
            f"there is no pipeline {name!r}; expected one of {sorted(PIPELINES)}. Name it with --pipeline."
        )
    return PIPELINES[name]
