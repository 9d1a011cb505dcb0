"""Compile TFX's own pipeline with its KubeflowV2DagRunner: in the virtualenv of its step.

Arguments: the folder of the inputs that the step left, the bucket's folder in which a run finds them under ``inputs``,
the image, and the file to write. The file holds the pipeline itself: kfp loads it, and Vertex AI takes it as a spec.
What TFX writes around it (the job: labels, ``runtimeConfig``) is left out, since kfp refuses it.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from components.shared.documents.tfx_inputs import TfxInputs


def compile_(inputs: Path, root: str, image: str) -> dict[str, Any]:
    """Return TFX's pipeline of a project as KFP's IR, schema 2.0.0.

    Args:
        inputs: Folder with ``tfx_inputs.json``.
        root: ``gs://bucket/prefix``: ``inputs`` below it must be a copy of that folder, runs go to ``runs``, blessed
            models to ``pushed``.
        image: Reference of the image of this step.
    """
    from tfx import v1 as tfx
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from components.tfx_training import chain

    described = TfxInputs.read(inputs)
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=f"{described.project.name}-tfx",
        pipeline_root=f"{root}/runs",
        components=chain.components(described, f"{root}/inputs", f"{root}/pushed"),
        beam_pipeline_args=list(chain.BEAM),
    )
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image=image)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=config, output_filename=str(file)).run(pipeline)
        job: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    spec: dict[str, Any] = job["pipelineSpec"]
    return spec


def main(arguments: list[str]) -> None:
    """Write the pipeline to a file."""
    inputs, root, image, out = arguments
    text = json.dumps(compile_(Path(inputs), root.rstrip("/"), image), indent=1, sort_keys=True)
    Path(out).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
