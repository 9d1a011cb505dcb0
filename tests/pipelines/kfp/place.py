"""Where the tests of a cluster ask: a double with a recording, or a real server, whose words may be taken down.

    KFP_ENDPOINT=http://...:8888 pytest tests/pipelines/kfp                    # against a real server with a node
    KFP_ENDPOINT=... KFP_RECORD=1 pytest tests/pipelines/kfp -k image           # and take its words down

A real server needs an image KFP_STUB_IMAGE with Python 3.11 and kfp, and a user that is not root; a bucket
KFP_STUB_BUCKET, its own, which AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY reach from here.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.project import Resources
from pipelines import runs
from pipelines.definitions import catalog
from pipelines.images.environments import ROOT, steps
from pipelines.project import project_file
from pipelines.targets import reading
from pipelines.targets.kfp import placement, submission
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import Follower
from pipelines.targets.model import Kfp
from pipelines.targets.protocol import Version
from tests.pipelines.kfp.double import Double, Recorder

ENDPOINT, RECORD = os.environ.get("KFP_ENDPOINT"), bool(os.environ.get("KFP_RECORD"))
IMAGE = os.environ.get("KFP_STUB_IMAGE", "localhost/hello:2")
BUCKET = os.environ.get("KFP_STUB_BUCKET", "minio://mlpipeline/perennial-test")
EXPERIMENT = "perennial-test"


@dataclass
class Place:
    """A server to ask, and a folder for the records of its runs."""

    host: str
    folder: Path
    scenario: str

    def target(self, **keys: Any) -> Kfp:
        overrides = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
        read = reading.read("kfp", ROOT, [f"host={self.host}", "secrets=[]", "env={}", *overrides])
        assert isinstance(read, Kfp)
        return read

    def server(self, **keys: Any) -> Server:
        return Server(self.target(**keys))

    def uploaded(
        self, server: Server, definition: Any, revision: str = "r1", image: str = IMAGE, **resources: Any
    ) -> Version:
        project = project_file.read(ROOT).model_copy(update={"resources": Resources.model_validate(resources)})
        documents = placement.compile_(definition, server.target, project, dict.fromkeys(steps(), image))
        return submission.upload(server, f"test-{self.scenario}", documents, revision)

    def submitted(self, server: Server, version: Version, **parameters: Any) -> runs.Run:
        run_id = submission.start(server, version, parameters, f"test {self.scenario}", EXPERIMENT)
        record = runs.new("test", "training", catalog.entry("training").steps, self.folder, datetime.now(UTC))
        record.remote = run_id
        record.save()
        return record

    def followed(self, server: Server, record: runs.Run) -> list[str]:
        said: list[str] = []
        follower = Follower(server, record, lambda step: said.append(f"{step.name} {step.state}"), said.append)
        follower.to_the_end(poll_s=1 if ENDPOINT else 0.01)
        return said

    def ran(self, definition: Any, *, image: str = IMAGE, keys: Any = None, resources: Any = None, **parameters: Any):
        """Upload, submit and follow to the end."""
        server = self.server(**(keys or {}))
        record = self.submitted(
            server, self.uploaded(server, definition, image=image, **(resources or {})), **parameters
        )
        return record, self.followed(server, record)


def forget(endpoint: str, pipeline: str) -> None:
    """Delete what an earlier recording uploaded: a recording begins with an upload."""
    target = reading.read("kfp", ROOT, [f"host={endpoint}"])
    assert isinstance(target, Kfp)
    server = Server(target)
    if found := submission.find_pipeline(server, pipeline):
        server.client._pipelines_api.pipeline_service_delete_pipeline(found, cascade=True)


def places(scenario: str, folder: Path) -> Iterator[Place]:
    """Give the place of one scenario, and hold the double to what was recorded."""
    short = scenario.replace("_", "-")[:60].strip("-")
    if ENDPOINT and not RECORD:
        yield Place(ENDPOINT, folder, short)
        return
    if ENDPOINT:
        forget(ENDPOINT, f"test-{short}")
        recorder = Recorder(ENDPOINT, short)
        yield Place(recorder.url, folder, short)
        recorder.save()
        recorder.shutdown()
        return
    double = Double(short)
    yield Place(double.url, folder, short)
    double.shutdown()
    assert double.problems == []
