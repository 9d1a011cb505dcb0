"""Compiled pipelines in the target's bucket, a file per version: Vertex AI itself keeps none."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from pipelines.definitions import compilation
from pipelines.targets.protocol import Version
from pipelines.targets.remote.storage import Bucket


def upload(bucket: Bucket, pipeline: str, ir: Mapping[str, Any], revision: str) -> Version:
    """Upload a version unless it is there.

    Args:
        bucket: The target's.
        pipeline: Names the folder.
        ir: What was compiled.
        revision: Names the version; the same revision compiled for another target or project file becomes a version of
            its own, named with the hash of its content, too.

    Raises:
        InputError: If the bucket refuses.
    """
    text, folder = compilation.as_text(ir), f"{bucket.uri}/pipelines/{pipeline}"
    there = set(bucket.names(folder))
    with tempfile.TemporaryDirectory() as local:
        for name in (revision, f"{revision}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"):
            file, uri = Path(local) / f"{name}.yaml", f"{folder}/{name}.yaml"
            if file.name not in there:
                file.write_text(text, encoding="utf-8")
                bucket.put(file, folder)
                return Version(folder, pipeline, uri, name, fresh=True)
            bucket.get(uri, file)
            if file.read_text(encoding="utf-8") == text:
                return Version(folder, pipeline, uri, name, fresh=False)
    raise InputError(f"{uri} holds another pipeline than its name says; delete it there.")
