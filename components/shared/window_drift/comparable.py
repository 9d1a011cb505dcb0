"""Whether a window can be compared with the champion's test rows at all."""

from pathlib import Path

from components.shared.documents.monitoring import LogWindow

ROWS_MIN = 50
"""With fewer rows than this, a comparison says nothing."""


def why_not(window: LogWindow, reference: Path) -> str | None:
    """Say why nothing can be compared; None if the window can be.

    Args:
        window: What was logged.
        reference: File with the champion's test rows; it may be absent.
    """
    if not reference.exists():
        return (
            "the champion has no reference rows, because nothing was released or it was registered by an older version "
            "of Perennial; run the training pipeline"
        )
    if window.rows == 0:
        return f"nothing was logged between {window.start or 'the beginning'} and {window.end or 'now'}"
    if window.rows < ROWS_MIN:
        return f"only {window.rows} rows were logged in the window, and {ROWS_MIN} are needed; choose a longer window"
    return None
