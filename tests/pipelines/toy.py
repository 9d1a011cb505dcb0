"""The smallest pipeline: what adding one takes, a function and an entry."""
# kfp reads the annotations at run time, so this file has no `from __future__ import annotations`.

from kfp import dsl

from components.shared.images import image
from pipelines import runs
from pipelines.definitions.catalog import PipelineEntry


@dsl.component(base_image=image("gate"), install_kfp_package=False)
def gate(seed: int) -> int:
    """Return the seed plus one."""
    print("the seed is", seed)
    return seed + 1


@dsl.pipeline(name="perennial-toy")
def toy_pipeline(seed: int, project_uri: str) -> None:
    """Run one step."""
    gate(seed=seed)


ENTRY = PipelineEntry(name="toy", load=lambda: toy_pipeline, endings={"gate": runs.OK}, sections=("steps", "lineage"))

PROJECT = """
name: small
task: binary
entity: id
event_time: at
sources: {rows: {path: rows.csv}}
label: {source: rows, column: y}
features: {service: small_v1, columns: {x: {type: numeric}}}
"""
