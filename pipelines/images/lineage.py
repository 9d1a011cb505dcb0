"""The code of a run, as the pipeline's parameter ``code`` tells it to the registry."""

import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

from components.shared.project import Project
from pipelines.images import choices, environments


def commit() -> dict[str, str]:
    """Describe the checkout: its commit, and whether the files differ from it."""
    facts = {"commit": _git("rev-parse", "HEAD") or "unknown"}
    facts["dirty"] = "true" if _git("status", "--porcelain") else "false"
    return facts


def code(references: Mapping[str, str], project: Project) -> dict[str, str]:
    """Describe the code: commit, and the image reference and lock hash of each step.

    Args:
        references: Step, or ``serving``, to image reference.
        project: Chooses the images.
    """
    facts = commit()
    for name, reference in references.items():
        facts[f"image:{name}"] = reference
        facts[f"lock:{name}"] = environments.lock_hash(choices.image_of(name, project))[:16]
    return facts


def remote() -> str:
    """Return where the code comes from, the address of git's ``origin`` without a password; '' if there is none."""
    parts = urlsplit(_git("remote", "get-url", "origin"))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(environments.ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
