"""Why a run failed at Vertex AI, in one sentence: from what the service says of a task, or from the step's log."""

import re
from collections.abc import Callable
from pathlib import Path

from pipelines import runs

# The service wraps what happened: "...AiPlatformException: code=RESOURCE_EXHAUSTED, message=<this>, cause=null; ...".
_INNER = re.compile(r"message=(.+?), cause=", re.DOTALL)
_EXIT = re.compile(r"non-?zero (?:exit )?status(?: of|:)? (\d+)", re.IGNORECASE)
_QUOTA = re.compile(
    r"quota metrics? (?:exceed quota limits|exceeded)?:? ?(?P<metric>[\w./-]+)|(?:quota|RESOURCE_EXHAUSTED)",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"out[- ]of[- ]memory|\bOOM\b", re.IGNORECASE)
_IMAGE = re.compile(
    r"image\b.*(?:not found|does not exist|cannot be pulled|failed to pull|permission)", re.IGNORECASE | re.DOTALL
)
_MACHINE = re.compile(
    r"(?:machine type|accelerator)\b.*(?:not supported|not available|invalid)|insufficient resources|stockout|"
    r"RESOURCE_POOL_EXHAUSTED|resources are insufficient",
    re.IGNORECASE | re.DOTALL,
)
_PERMISSION = re.compile(
    r"PERMISSION_DENIED|permission .*denied|does not have .*(?:access|permission)", re.IGNORECASE | re.DOTALL
)


def ended(message: str, log: Callable[[], str], log_file: Path, region: str) -> tuple[int, str]:
    """Say why a task failed.

    Args:
        message: What the service says of it.
        log: Fetches the step's log; empty where there is none, or it may not be read.
        log_file: Where the log is stored, if there is one.
        region: The target's.

    Returns:
        The command's exit code (see ``pipelines.runs``) and one sentence.
    """
    if text := log():
        log_file.write_text(text, encoding="utf-8")
    said = inner(message)
    exit_code = _EXIT.search(message)
    if _MEMORY.search(message):
        return runs.FAILED, "it ran out of memory; raise memory_limit under 'resources' in project.yaml."
    if exit_code:
        code, sentence = runs.cause(log_file, int(exit_code[1]))
        if not text and "no traceback" in sentence:
            sentence = (
                f"it ended with exit code {exit_code[1]}; its log is empty, or you may not read it (the role is "
                "roles/logging.viewer)."
            )
        return code, sentence
    if _IMAGE.search(said):
        return runs.FAILED, f"its image can't be pulled ({said}); push it with 'perennial images push'."
    if _MACHINE.search(said):
        return runs.FAILED, (
            f"{region} has no such machine for it ({said}); change cpu_limit, memory_limit or gpu_type under "
            "'resources' in project.yaml, or take another region."
        )
    if _QUOTA.search(said):
        return (
            runs.FAILED,
            f"a quota of the project in {region} is used up ({said}); ask for more, or run less at once.",
        )
    if _PERMISSION.search(said):
        return (
            runs.FAILED,
            f"the steps' service account lacks a permission ({said}); grant it, or name another account.",
        )
    return runs.FAILED, f"Vertex AI ended it: {said or 'it gives no reason'}."


def inner(message: str) -> str:
    """Take out of a message what happened, without the layers that passed it on.

    >>> inner("com.google.X: code=INTERNAL, message=The disk is gone., cause=null; Failed to create the job.")
    'The disk is gone'
    """
    wrapped = _INNER.search(message)
    return " ".join((wrapped[1] if wrapped else message.partition(";")[0]).split())[:300].rstrip(".")
