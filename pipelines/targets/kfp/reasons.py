"""Why a run failed on a cluster, in one sentence: from what Kubernetes says of a pod, or from the log of its step."""

import re
from collections.abc import Callable
from pathlib import Path

from pipelines import runs
from pipelines.targets.kfp.workflow import Pod

_EXIT_CODE = re.compile(r"exit code (\d+)")
_IMAGE = re.compile(r'image "([^"]+)"')
# How KFP's driver and launcher say what ended them: glog's fatal lines.
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (.+)$", re.MULTILINE)
_NO_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")


def waiting(pod: Pod) -> str | None:
    """Say why a pod can't start; None where Kubernetes is only taking its time."""
    message = " ".join((pod.message or "").split())
    if any(word in message for word in _NO_PULL):
        image = _IMAGE.search(message)
        detail = message.rpartition(": ")[2]
        return (
            f"the image {image[1]!r} can't be pulled ({detail})" if image else f"its image can't be pulled ({message})"
        )
    if message.startswith("Unschedulable"):
        return f"no node fits ({message.partition(': ')[2] or message})"
    if message and message not in ("PodInitializing", "ContainerCreating"):
        return f"its pod can't start ({message[:300]})"
    return None


def ended(pod: Pod, log: Callable[[], str], log_file: Path) -> tuple[int, str]:
    """Say why a pod failed.

    Args:
        pod: The pod.
        log: Fetches its log; empty where there is none.
        log_file: Where the log is stored, if there is one.

    Returns:
        The command's exit code (see ``pipelines.runs``) and one sentence.
    """
    message = pod.message or ""
    if text := log():
        log_file.write_text(text, encoding="utf-8")
    if "OOMKilled" in message:
        return runs.FAILED, "it ran out of memory; raise memory_limit under 'resources' in project.yaml."
    if "longer than the specified deadline" in message:
        # Kubernetes says the same of a step that hung and of a pod that never started, and keeps no log of either.
        return runs.FAILED, (
            "it did not end within its timeout_s under 'resources' in project.yaml, "
            "or its image could not be pulled in that time; fix the step or raise timeout_s."
        )
    if "Step exceeded its deadline" in message:
        return runs.FAILED, "it had not started when the run was ended."
    if (why := waiting(pod)) and any(word in message for word in (*_NO_PULL, "Unschedulable")):
        return runs.FAILED, f"{why}."
    match = _EXIT_CODE.search(message)
    code, sentence = runs.cause(log_file, int(match[1]) if match else 1)
    fatal = _FATAL.findall(text)
    if "no traceback" in sentence and fatal:
        return runs.FAILED, f"KFP could not run it: {' '.join(fatal[-1].split())[:400].rstrip('.')}."
    if "no traceback" in sentence and message and not match:
        return runs.FAILED, f"Kubernetes ended it: {' '.join(message.split())[:300].rstrip('.')}."
    return code, sentence
