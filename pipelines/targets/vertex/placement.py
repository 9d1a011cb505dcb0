"""Compile a pipeline for Vertex AI: the same steps in one document, with the machines that the project asks for."""

from collections.abc import Collection, Mapping
from typing import Any

from components.shared.errors import InputError
from components.shared.images import image
from components.shared.project import DefaultResources, Project
from pipelines.definitions import compilation, tracing
from pipelines.images.environments import steps
from pipelines.targets.model import Vertex
from pipelines.targets.remote import retries, sharing
from pipelines.targets.vertex import lint


def compile_(
    definition: Any,
    target: Vertex,
    project: Project,
    references: Mapping[str, str],
    always_run: Collection[str] = (),
) -> dict[str, Any]:
    """Compile one pipeline for Vertex AI.

    Args:
        definition: The pipeline.
        target: The target.
        project: Whose resources hold.
        references: Step to image reference; what is missing keeps its symbolic name.
        always_run: Steps that run even where nothing changed, besides those that the pipeline itself never caches.

    Returns:
        The IR; there is no second document for a platform, which Vertex AI does not read.

    Raises:
        InputError: If Vertex AI would reject the result, or cannot do what the project file asks for.
    """
    by_image = {image(step): step for step in steps()}

    def place(task: Any) -> None:
        if task.container_spec is not None:
            step = by_image[task.container_spec.image]
            sharing.with_copies(task, project.resources.of(step), lambda task: place_on_machine(task, step))

    def place_on_machine(task: Any, step: str) -> None:
        for variable, value in sorted(target.env.items()):
            task.set_env_variable(variable, value)
        _limit(task, step, project.resources.of(step))
        if step in always_run:
            task.set_caching_options(False)

    sharing.check(project, target)
    (pipeline,) = compilation.documents(tracing.traced(definition, place))
    pipeline = compilation.with_references(pipeline, {step: image(step) for step in steps()} | dict(references))
    pipeline = compilation.started_as(pipeline, project)
    for problem in lint.problems(pipeline, symbolic=not references):
        raise InputError(f"the pipeline {definition.name!r} can't run on Vertex AI: {problem}")
    return pipeline


def _limit(task: Any, step: str, resources: DefaultResources) -> None:
    """Ask for a machine: Vertex AI takes the smallest that holds the limits, requests mean nothing to it."""
    if resources.node_selector or resources.tolerations:
        raise InputError(
            f"resources of the step {step} choose nodes (node_selector, tolerations), which Vertex AI does not have; "
            "remove them, or run on a cluster with --target kfp."
        )
    if cpu := resources.cpu_limit or resources.cpu:
        task.set_cpu_limit(cpu)
    if memory := resources.memory_limit or resources.memory:
        task.set_memory_limit(memory)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type)
        task.set_accelerator_limit(resources.gpu)
    retries.set_on(task, resources)
