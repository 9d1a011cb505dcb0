"""The steps of the monitoring pipelines, with any library of drift tests."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import Artifact

from components.champion.component import champion
from components.data_quality.component import data_quality
from components.decision.component import decision
from components.log_window.component import log_window
from components.notification.component import notification
from components.performance.component import performance


class Monitored(NamedTuple):
    """What a pipeline goes on with: the project's bundle, and the tasks of the steps champion and decision."""

    project: Any
    incumbent: Any
    decided: Any


def join(
    compare: Callable[..., Any],
    project_uri: str,
    registry_uri: str,
    inference_log: str,
    labels: str,
    incidents: str,
    metrics: str,
    window_start: str,
    window_end: str,
) -> Monitored:
    """Join the steps; ``compare`` is the component with the drift tests."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    incumbent = champion(project=project, registry_uri=registry_uri, registry_state="")
    # Neither the registry nor the log is an input that a cache could compare.
    incumbent.set_caching_options(False)
    window = log_window(
        project=project, log=inference_log, labels=labels, window_start=window_start, window_end=window_end
    )
    window.set_caching_options(False)
    measured = incumbent.outputs["measured"]
    drifted = compare(project=project, window=window.output, measured=measured)
    performed = performance(project=project, window=window.output, model=incumbent.outputs["model"], measured=measured)
    validated = data_quality(project=project, window=window.output, measured=measured)
    decided = decision(
        project=project,
        window=window.output,
        drift=drifted.output,
        performance=performed.output,
        quality=validated.output,
    )
    notified = notification(
        project=project,
        window=window.output,
        drift=drifted.output,
        performance=performed.output,
        outcome=decided.outputs["outcome"],
        incidents=incidents,
        metrics=metrics,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    )
    # The registry of incidents is no input that a cache could compare.
    notified.set_caching_options(False)
    return Monitored(project, incumbent, decided)
