"""KFP component of the log window: the logged requests of a window, with the labels that are known by now."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("log_window"), install_kfp_package=False)
def log_window(
    project: Input[Artifact], log: str, labels: str, window_start: str, window_end: str, window: Output[Dataset]
) -> None:
    """Compact the inference log, and take the rows of a window from it, with their labels."""
    import tempfile
    from pathlib import Path

    from components.log_window import logic
    from components.shared import bundle
    from components.shared.inference_log import remote

    span = logic.Span.parse(window_start, window_end)
    with tempfile.TemporaryDirectory() as scratch:
        log_here = remote.fetch(log, Path(scratch) / "log")
        labels_here = remote.fetch(labels, Path(scratch) / "labels")
        logic.take(bundle.project(project.path), log_here, labels_here, span, Path(window.path))
