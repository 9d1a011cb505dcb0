"""Compile a pipeline for a cluster: the same steps, with the settings that only Kubernetes has.

The pipeline's function says nothing about a place. While kfp traces it once more, each of its tasks is given the
variables, secrets, resources and security context of the target and of the project file.
"""

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from components.shared.errors import InputError
from components.shared.images import image
from components.shared.project import DefaultResources, Project
from pipelines.definitions import compilation, tracing
from pipelines.images.environments import steps
from pipelines.targets.kfp import lint, release_time
from pipelines.targets.model import Kfp
from pipelines.targets.remote import retries, sharing

# Pods of our steps in queries and network policies.
_TELLS = "notification"
"""The step that tells the sinks of the project file."""
LABELS = {"app.kubernetes.io/managed-by": "perennial", "app.kubernetes.io/part-of": "perennial"}


def compile_(
    definition: Any,
    target: Kfp,
    project: Project,
    references: Mapping[str, str],
    always_run: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Compile one pipeline for a cluster.

    Args:
        definition: The pipeline.
        target: The cluster.
        project: Whose resources hold.
        references: Step to image reference; what is missing keeps its symbolic name.
        always_run: Steps that run even where nothing changed, besides those that the pipeline itself never caches.

    Returns:
        Two documents: the pipeline and its platform, as KFP takes them in one file.

    Raises:
        InputError: If the result breaks a rule of KFP's backend, a secret is for a step that does not exist, the step
            that watches a release has less time than that may take, or pods cannot share a step.
    """
    by_image = {image(step): step for step in steps()}
    for secret in target.secrets:
        if unknown := sorted(set(secret.steps) - set(by_image.values())):
            raise InputError(
                f"the secret {secret.name!r} is for the steps {unknown}, but there is no such step; expected some of "
                f"{sorted(by_image.values())}."
            )

    def place(task: Any) -> None:
        if task.container_spec is not None:
            step = by_image[task.container_spec.image]
            if step == _TELLS:
                _check_sinks(project, target)
            sharing.with_copies(task, project.resources.of(step), lambda task: place_on_cluster(task, step))

    def place_on_cluster(task: Any, step: str) -> None:
        resources = project.resources.of(step)
        if step == release_time.WATCHES:
            resources = resources.model_copy(update={"timeout_s": release_time.timeout_s(project, target)})
        place_task(task, step, target, resources)
        if step in always_run:
            task.set_caching_options(False)

    sharing.check(project, target)
    documents = compilation.documents(tracing.traced(definition, place))
    pipeline = compilation.with_references(documents[0], {step: image(step) for step in steps()} | dict(references))
    pipeline = compilation.started_as(pipeline, project)
    for problem in lint.problems(pipeline, documents[1], symbolic=not references):
        raise InputError(f"the pipeline {definition.name!r} can't run on KFP: {problem}")
    return [pipeline, documents[1]]


def _check_sinks(project: Project, target: Kfp) -> None:
    """Refuse a sink whose address or login the step that tells it would not have."""
    secrets = [secret for secret in target.secrets if not secret.steps or _TELLS in secret.steps]
    given = set(target.env).union(*(secret.env for secret in secrets))
    for name, sink in sorted(project.monitoring.notify.items()):
        needed = (getattr(sink, field, None) for field in ("url_env", "credentials_env"))
        if missing := [variable for variable in needed if variable is not None and variable not in given]:
            raise InputError(
                f"the sink {name!r} of 'monitoring: notify' reads the environment variable {missing[0]}, which the "
                f"target does not give to the step {_TELLS!r}; name a Secret for it under 'secrets' in the target file."
            )


def as_text(documents: list[dict[str, Any]]) -> str:
    """Write the documents the same way every time."""
    return yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=120)


def place_task(task: Any, step: str, target: Kfp, resources: DefaultResources) -> None:
    """Give one traced task what a cluster has to know of it."""
    from kfp import kubernetes

    for variable, value in sorted(target.env.items()):
        task.set_env_variable(variable, value)
    for secret in (secret for secret in target.secrets if not secret.steps or step in secret.steps):
        keys = {key: variable for variable, key in secret.env.items()}
        kubernetes.use_secret_as_env(task, secret.name, keys, optional=secret.optional)
    kubernetes.set_security_context(task, run_as_user=target.run_as_user, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, target.image_pull_policy)
    if target.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(target.image_pull_secrets))
    for label, value in (LABELS | {"app.kubernetes.io/component": step}).items():
        kubernetes.add_pod_label(task, label, value)
    # A pod without a deadline whose image can't be pulled stays for ever if no one follows the run.
    kubernetes.set_timeout(task, resources.timeout_s or target.timeout_s)
    _limit(task, resources)


def _limit(task: Any, resources: DefaultResources) -> None:
    from kfp import kubernetes

    for value, set_to in (
        (resources.cpu, task.set_cpu_request),
        (resources.cpu_limit, task.set_cpu_limit),
        (resources.memory, task.set_memory_request),
        (resources.memory_limit, task.set_memory_limit),
    ):
        if value is not None:
            set_to(value)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type)
        task.set_accelerator_limit(resources.gpu)
    for label, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    retries.set_on(task, resources)
