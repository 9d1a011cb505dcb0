"""Run a compiled pipeline with kfp.local's own orchestrator, each task in its runtime."""

import contextlib
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pipelines.definitions.compilation import as_text
from pipelines.targets.local import seam


def execute(
    ir: Mapping[str, Any],
    arguments: Mapping[str, Any],
    references: Mapping[str, str],
    tasks: seam.Tasks,
    observer: seam.TaskObserver,
    folder: Path,
    cache: Path | None,
) -> None:
    """Run the pipeline to its end; ``observer`` receives what happens to each task.

    Args:
        ir: Compiled pipeline with the image references filled in.
        arguments: Pipeline parameters.
        references: Step to image reference.
        tasks: Runs the tasks.
        observer: Receives what happens to every task.
        folder: The run's folder: artifacts/, logs/ and, while it runs, scratch/.
        cache: kfp's cache, shared by all runs of a project; None turns it off.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when every task has ended.
    """
    import warnings

    from kfp import components, local

    logs, scratch, artifacts = folder / "logs", folder / "scratch", folder / "artifacts"
    # A Docker engine creates a missing mount point, which then belongs to root.
    for needed in (logs, artifacts, scratch / "workspace"):
        needed.mkdir(parents=True, exist_ok=True)
    try:
        with (
            seam.installed(tasks, ir, references, observer, logs, scratch) as runner,
            (logs / "kfp.log").open("w", encoding="utf-8") as kfp_log,
            contextlib.redirect_stdout(kfp_log),
            contextlib.redirect_stderr(kfp_log),
            warnings.catch_warnings(action="ignore"),
            _sigterm_interrupts(),
        ):
            local.init(
                runner=runner,
                pipeline_root=str(artifacts),
                workspace_root=str(scratch / "workspace"),
                raise_on_error=False,
                enable_caching=cache is not None,
                cache_root=str(cache) if cache else None,
            )
            components.load_component_from_text(as_text(ir))(**arguments)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
