"""Release a version: it must answer correctly alongside the champion before it may take over.

The order of a release is defined in ``components.shared.release.machine``; here the gate's verdict is checked again,
and the endpoint's address decides who carries it out.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.deployment import incident
from components.shared import registry
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, StepFailed
from components.shared.project import Project
from components.shared.release import local, watching
from components.shared.release.kserve.address import SCHEME as KSERVE
from components.shared.release.kserve.release import ClusterRelease, check_readable
from components.shared.release.strategy import plan_of
from components.shared.release.vertex.address import SCHEME as VERTEX
from components.shared.release.vertex.release import VertexRelease

if TYPE_CHECKING:
    from mlflow import MlflowClient


def deploy(
    project: Project,
    release: Path,
    verdict_path: Path,
    registry_uri: str,
    endpoint: str,
    incidents: str = "",
    deadline_s: float = 120.0,
) -> str:
    """Release what the gate promoted.

    Args:
        project: Whose model it is.
        release: The release's manifests and ``release.json``.
        verdict_path: The gate's verdict; it is checked here again.
        registry_uri: Where the champion's alias is.
        endpoint: A local endpoint's folder, ``kserve://<namespace>``, or ``vertex://<project>/<region>``.
        incidents: Folder in a bucket for the incident of a candidate that does harm; empty where the command that
            goes on with the release opens it on its own machine.
        deadline_s: Longest wait for a local server to load the release, and again for it to take over; elsewhere the
            project file says how long a pod or a container may take.

    Returns:
        "released", "unchanged" when this very version answers already, or "waiting" when the project's strategy
        exposes it first or asks for an approval. On a cluster an exposed release is watched here until it has ended or
        waits for somebody.

    Raises:
        GateRejected: If the verdict does not promote, or the version was taken back before.
        StepFailed: If the release did not come to answer right, then the former champion answers again; or if it was
            withdrawn before, so that a retry of the step changes nothing.
    """
    verdict = Verdict.read(verdict_path)
    if not verdict.promote:
        broken = [ruling.reason for ruling in verdict.failed]
        raise GateRejected(f"the gate did not promote this candidate, nothing is released: {'; '.join(broken)}")
    candidate = RegisteredVersion.read(release)
    if candidate.name != project.name:
        raise StepFailed(
            f"the release is of model {candidate.name!r}, the project is {project.name!r}; register again."
        )
    client = registry.open(registry_uri)
    plan = plan_of(project.release)
    if (reason := registry.taken_back(client, candidate.name, candidate.version)) is not None:
        if endpoint.startswith(KSERVE):
            # Who was killed between the mark and the incident.
            incident.open_for(project, candidate, reason, incidents)
        raise GateRejected(
            f"release {candidate.version} was taken back before ({reason}), and this run made the same model again; "
            "change the data, the code or the project file."
        )
    if (reason := _withdrawn(client, candidate)) is not None:
        raise StepFailed(
            f"release {candidate.version} was withdrawn while this run released it ({reason}); a retry does not begin "
            "it again. Start a new run to release it."
        )
    if endpoint.startswith(VERTEX):
        return VertexRelease(endpoint, project, client, release).driver().release(candidate, plan)
    if endpoint.startswith(KSERVE):
        return _on_a_cluster(endpoint, project, release, candidate, client, incidents)
    pace = replace(local.PACE, start_s=deadline_s, route_s=deadline_s)
    return local.driver(Path(endpoint), client, manifests=release, pace=pace).release(candidate, plan)


def _withdrawn(client: "MlflowClient", candidate: RegisteredVersion) -> str | None:
    if candidate.registration is None:
        return None
    return registry.withdrawn(client, candidate.name, candidate.version, candidate.registration)


def _on_a_cluster(
    endpoint: str,
    project: Project,
    manifests: Path,
    candidate: RegisteredVersion,
    client: "MlflowClient",
    incidents: str,
) -> str:
    """Release to a namespace, and watch there what nobody else would: a pod of ours counts, but decides nothing."""
    check_readable(candidate)
    start_s = project.serving.start_s
    release = ClusterRelease(endpoint, project.name, client, start_s=start_s, manifests=manifests)
    driver = release.driver()
    outcome = driver.release(candidate, plan_of(project.release))
    if outcome != "waiting":
        return outcome
    try:
        progress = watching.watch(driver, candidate.version)
    except StepFailed:
        # After a look that failed, somebody may have ended the release well.
        if release.journal.read() is None and registry.champion(client, candidate.name) == candidate.version:
            return "released"
        raise
    if progress is not None and progress.outcome == "rolled back" and progress.harmful:
        incident.open_for(project, candidate, progress.reason, incidents)
    return watching.ended(progress, candidate.version, registry.champion(client, candidate.name))
