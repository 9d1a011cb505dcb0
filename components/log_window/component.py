"""KFP component of the log window: the logged requests of a window, with the labels that are known by now."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("log_window"), install_kfp_package=False)
def log_window(
    project: Input[Artifact], log: str, labels: str, window_start: str, window_end: str, window: Output[Dataset]
) -> None:
    """Compact the inference log, and take the rows of a window from it, with their labels."""
    from pathlib import Path

    from components.log_window import logic
    from components.shared import bundle

    span = logic.Span.parse(window_start, window_end)
    logic.fetch(bundle.project(project.path), log, labels, span, Path(window.path))
