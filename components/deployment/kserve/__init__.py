"""Releases into a Kubernetes namespace that KServe watches."""

from components.deployment.kserve.address import SCHEME
from components.deployment.kserve.release import release

__all__ = ["SCHEME", "release"]
