"""Rules of Vertex AI that KFP's compiler lets pass: found before anything is sent.

Sources: the documentation's pages "Specify the machine configuration for a pipeline step" (96 CPUs and 624 GB are the
most; labels that select nodes exist only for accelerators), "Configure compute resources for custom training"
(accelerators and their counts) and "Custom container requirements" (registries); the names that the SDK accepts
(``google.cloud.aiplatform.constants.pipeline``); KFP's ``pipeline_spec.proto``, whose newer fields only KFP's own
backend reads.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"^[a-z][-a-z0-9]{0,127}$")
_MOST_CPUS, _MOST_GB = 96, 624
_ACCELERATOR = re.compile(r"^(NVIDIA|TPU)_[A-Z0-9_]+$")
_COUNTS = (1, 2, 4, 8, 16)
_PINNED = re.compile(r"(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})$")
_SCHEMAS = ("2.0.0", "2.1.0")
# Fields of tasks and executors that came after schema 2.1.0 was published with Vertex AI.
_NEWER = ("workspace", "semaphoreKey", "mutexName", "pipelineRunParallelism", "cacheKey", "taskConfigPassthroughs")


def problems(pipeline: Mapping[str, Any], symbolic: bool = False) -> Iterator[str]:
    """Find what Vertex AI would reject; each sentence names the step.

    Args:
        pipeline: The IR.
        symbolic: Images may still have their symbolic names.
    """
    name, schema = pipeline["pipelineInfo"]["name"], pipeline["schemaVersion"]
    if not NAME.match(name):
        yield f"it is called {name!r}; expected lower-case letters, digits and hyphens, at most 128, a letter first."
    if schema not in _SCHEMAS:
        yield f"its schema version is {schema!r}; expected one of {list(_SCHEMAS)}, so compile it with KFP 2."
    for label, executor in sorted(pipeline["deploymentSpec"]["executors"].items()):
        step = label.removeprefix("exec-")
        if "container" in executor:
            yield from (f"the step {step} {problem}" for problem in _container(executor["container"], symbolic))
        elif "importer" not in executor:
            yield f"the step {step} is of kind {sorted(executor)}; expected a container or an importer."
    for field in sorted(_keys(pipeline) & set(_NEWER)):
        yield f"it has {field!r}, which only KFP's own backend reads."


def _container(container: Mapping[str, Any], symbolic: bool) -> Iterator[str]:
    reference = container["image"]
    if not symbolic:
        if "." not in reference.partition("/")[0]:
            yield (
                f"has the image {reference!r}, which is in no registry; expected one such as "
                "europe-docker.pkg.dev/PROJECT/REPOSITORY. Set images.registry in the target file."
            )
        elif not _PINNED.search(reference.rpartition("/")[2]):
            yield f"has the image {reference!r}, which names no content; expected a tag or a digest."
    resources = container.get("resources", {})
    if (cpus := resources.get("cpuLimit", 0)) > _MOST_CPUS:
        yield f"asks for {cpus:g} CPUs, the most is {_MOST_CPUS}; lower cpu_limit under 'resources' in project.yaml."
    if (memory := resources.get("memoryLimit", 0)) > _MOST_GB:
        yield (
            f"asks for {memory:g} GB of memory, the most is {_MOST_GB}; lower memory_limit under 'resources' in "
            "project.yaml."
        )
    if accelerator := resources.get("accelerator"):
        kind, count = accelerator.get("type"), int(accelerator.get("count", 1))
        if not _ACCELERATOR.match(kind or ""):
            yield (
                f"asks for the accelerator {kind!r}; expected a name of Vertex AI such as NVIDIA_TESLA_T4. Set "
                "gpu_type under 'resources' in project.yaml."
            )
        if count not in _COUNTS:
            yield f"asks for {count} accelerators, expected one of {list(_COUNTS)}; correct gpu under 'resources'."


def _keys(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return set(value).union(*(_keys(inner) for inner in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(_keys(inner) for inner in value))
    return set()
