"""Rules of KFP's backend that its compiler and kfp.local let pass: found before anything is sent."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# A placeholder inside a longer text: the backend puts the value in without escaping it.
_EMBEDDED = re.compile(r"\{\{\$[^}]*\}\}")
_PINNED = re.compile(r"(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})$")


def problems(pipeline: Mapping[str, Any], platform: Mapping[str, Any], symbolic: bool = False) -> Iterator[str]:
    """Find what would fail, or go wrong silently, on a cluster.

    Args:
        pipeline: The IR.
        platform: The platform document of the pipeline.
        symbolic: Images may still have their symbolic names.
    """
    executors = pipeline["deploymentSpec"]["executors"]
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, executor in sorted(executors.items()):
        if "importer" in executor:
            if executor["importer"].get("reimport"):
                yield f"{name} imports its artifact again in each run, so that no step after it comes from the cache."
            continue
        reference = executor["container"]["image"]
        if not symbolic and not _PINNED.search(reference.rpartition("/")[2]):
            yield f"{name} has the image {reference!r}, which names no content; expected a tag or a digest."
        if not placed.get(name, {}).get("securityContext", {}).get("runAsNonRoot"):
            yield f"{name} may run as root; expected a security context."
        if "pvcMount" in placed.get(name, {}):
            yield f"{name} mounts a volume claim, which binds its runs to one node; pass artifacts instead."
    for name in sorted(set(placed) - set(executors)):
        yield f"the platform speaks of {name}, which the pipeline does not have."
    for where, dag in _dags(pipeline):
        for name, task in sorted(dag["tasks"].items()):
            yield from (f"task {name!r} of {where} {problem}" for problem in _task(task))


def _dags(pipeline: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "the pipeline", pipeline["root"]["dag"]
    for name, component in sorted(pipeline["components"].items()):
        if "dag" in component:
            yield name, component["dag"]


def _task(task: Mapping[str, Any]) -> Iterator[str]:
    if "artifactIterator" in task:
        yield "loops over artifacts, which the backend has not; loop over a list parameter."
    for name, source in sorted(task.get("inputs", {}).get("parameters", {}).items()):
        constant = source.get("runtimeValue", {}).get("constant")
        text = constant if isinstance(constant, str) else json.dumps(constant)
        bare = _EMBEDDED.sub("", text)
        if bare != text and bare.strip() and ('"' in bare or "\n" in bare or "\\" in bare):
            yield f"builds {name!r} from a text with quotes or line breaks, which the backend can't put values into."
