"""Release a version: it must answer right beside the champion before it may take over.

The order is the promise, wherever the model is served: the candidate stands beside the champion, is asked the sample
of its package, then the alias moves (the commit point), then the traffic, and it is asked again. The former champion
answers until the switch, and again if anything fails.
"""

from pathlib import Path

from components.deployment import kserve, local
from components.shared import registry
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, StepFailed
from components.shared.files import read_json
from components.shared.project import Project


def deploy(
    project: Project,
    release: Path,
    verdict_path: Path,
    registry_uri: str,
    endpoint: str,
    deadline_s: float = 120.0,
) -> str:
    """Release what the gate promoted.

    Args:
        project: Whose model it is.
        release: The release's manifests and ``release.json``.
        verdict_path: The gate's verdict; it is checked here again.
        registry_uri: Where the champion's alias lives.
        endpoint: A local endpoint's folder, or ``kserve://<namespace>``.
        deadline_s: Longest wait for a local server to load the release, and again for it to take over; on a cluster
            the project file says how long a pod may take.

    Returns:
        "released", or "unchanged" when this very version answers already.

    Raises:
        GateRejected: If the verdict does not promote.
        StepFailed: If the release could not be brought to answer right; the former champion answers again.
    """
    verdict = Verdict.read(verdict_path)
    if not verdict.promote:
        broken = [ruling.reason for ruling in verdict.failed]
        raise GateRejected(f"The gate did not promote this candidate, nothing is released: {'; '.join(broken)}")
    plan = read_json(release / "release.json")
    if plan["name"] != project.name:
        raise StepFailed(f"The release is of model {plan['name']!r}, the project is {project.name!r}; register again.")
    client = registry.open(registry_uri)
    if endpoint.startswith(kserve.SCHEME):
        return kserve.release(release, plan, client, endpoint, project.serving.start_s)
    return local.release(release, plan, client, registry_uri, Path(endpoint), deadline_s)
