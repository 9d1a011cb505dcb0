"""Share the work of one step between several pods: copies of the step run in a loop.

The copies of tuning claim trials of the same study until it is complete. They run beside the step, which reports the
result, so nothing waits for a copy but the run. The copies of batch scoring write one shard each, and the step collects
their scores afterwards.
"""

from collections.abc import Callable
from typing import Any

from components.shared.errors import InputError
from components.shared.images import image
from components.shared.project import DefaultResources, Project
from pipelines.targets.model import Remote
from pipelines.targets.remote import retries

_COPY_RETRIES = 3
_SHAREABLE = ("batch_scoring", "tuning")


def check(project: Project, target: Remote) -> None:
    """Refuse pods that could not share a step's work.

    Raises:
        InputError: If a step cannot be shared, or its copies have no storage in common.
    """
    resources = project.resources
    pods = {step: resources.of(step).pods for step in ("default", *resources.steps)}
    shared = sorted(step for step, number in pods.items() if number > 1)
    if unknown := [step for step in shared if step not in _SHAREABLE]:
        raise InputError(
            f"'resources' give {unknown[0]!r} {pods[unknown[0]]} pods; expected 'pods' only for the steps "
            f"{list(_SHAREABLE)}, whose work can be shared. Remove it."
        )
    if "tuning" in shared and not target.services.studies.startswith("postgresql"):
        raise InputError(
            f"'resources' give 'tuning' {pods['tuning']} pods, but services.studies of the target is "
            f"{target.services.studies!r}, which pods do not share; expected postgresql://host/database. Correct the "
            "target file, or remove 'pods'."
        )


def with_copies(task: Any, resources: DefaultResources, configure: Callable[[Any], None]) -> None:
    """Configure a traced task, and a loop with its copies if it has more than one pod.

    Args:
        task: kfp's task; its pipeline is still being traced.
        resources: What the step may use, and how many pods share its work.
        configure: Gives a task what its target has to know of it.
    """
    if resources.pods == 1:
        configure(task)
    elif task.container_spec.image == image("batch_scoring"):
        _divided(task, resources, configure)
    else:
        _joined(task, resources, configure)


def _joined(task: Any, resources: DefaultResources, configure: Callable[[Any], None]) -> None:
    """Add copies beside the task, which is one of the pods itself."""
    from kfp import dsl
    from kfp.dsl.pipeline_context import Pipeline

    configure(task)
    # The copies belong to the condition that the task is in.
    groups = Pipeline.get_default_pipeline().groups
    groups.append(task.parent_task_group)
    with dsl.ParallelFor(list(range(1, resources.pods)), name=f"{task.name}-copies"):
        copy = dsl.PipelineTask(task.component_spec, task.inputs)
    groups.pop()
    configure(copy)
    # A copy that fails for good would fail the run, although the others could do its work.
    retries.set_at_least(_COPY_RETRIES, copy, resources)


def _divided(task: Any, resources: DefaultResources, configure: Callable[[Any], None]) -> None:
    """Replace the task by a loop over its shards and a task of the same name that collects them."""
    from kfp import dsl
    from kfp.dsl.pipeline_context import Pipeline

    with dsl.ParallelFor(list(range(resources.pods)), name=f"{task.name}-shards") as shard:
        copy = dsl.PipelineTask(task.component_spec, task.inputs | {"shard": shard, "shards": resources.pods})
    pipeline = Pipeline.get_default_pipeline()
    pipeline.remove_task_from_groups(task)
    del pipeline.tasks[task.name]
    written = dsl.Collected(copy.outputs["scores"])
    whole = dsl.PipelineTask(task.component_spec, task.inputs | {"written": written})
    for part in (copy, whole):
        # As the pipeline says of the task: what the registry holds is no input.
        part.set_caching_options(False)
        configure(part)
