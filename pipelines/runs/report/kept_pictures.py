"""Keep the pictures of a report, so that a run which only repeats another one need not draw them again.

Drawing takes seconds, and matplotlib has to be imported for it. The pictures are stored with the report of the run that
drew them, and are taken from there as long as the code that draws them is the same.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from markupsafe import Markup

from components.shared import files

FILE = "pictures.json"
_FOLDER = Path(__file__).parent


def pictures(folder: Path, original: Path | None, draw: Callable[[], Mapping[str, Markup]]) -> dict[str, Markup]:
    """Return the pictures of a run, drawn or kept.

    Args:
        folder: The run's folder; pictures that had to be drawn are kept in it.
        original: The folder of the run that this one repeats; None if it repeats none.
        draw: Draws all pictures, by name.
    """
    code = _code()
    if original is not None and (stored := _read(original / FILE, code)) is not None:
        return stored
    drawn = dict(draw())
    files.write_json(folder / FILE, {"code": code, "pictures": {name: str(picture) for name, picture in drawn.items()}})
    return drawn


def _read(path: Path, code: str) -> dict[str, Markup] | None:
    try:
        stored = files.read_json(path)
        if stored["code"] != code:
            return None
        return {name: Markup(picture) for name, picture in stored["pictures"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        # Drawing again costs seconds; a broken file is no reason to fail.
        return None


def _code() -> str:
    """Hash the modules of the report."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
