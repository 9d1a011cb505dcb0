"""The materialization step as a KFP component: the online store filled from the offline features."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("materialization"), install_kfp_package=False)
def materialization(
    project: Input[Artifact],
    snapshot: Input[Dataset],
    online_store: str,
    window_start: str,
    window_end: str,
    summary: Output[Artifact],
) -> None:
    """Write the newest row per entity within a window to the online store, unless the store holds a newer one."""
    from pathlib import Path

    from components.materialization import logic

    window = logic.Window.parse(window_start, window_end)
    logic.materialize(project.path, Path(snapshot.path), online_store, window).write(Path(summary.path))
