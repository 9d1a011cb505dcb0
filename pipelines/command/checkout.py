"""Refuse to run from an installed package: steps, images and manifests are built from the files of a checkout."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from components.shared.errors import InputError

_NEEDED = ("infra/uv.txt", "infra/Dockerfile", "requirements.txt")
_PACKAGES = ("components", "serving")
"""Names that another distribution may have, too."""


def check(root: Path, packages: Sequence[str] = _PACKAGES) -> None:
    """Do nothing where the command has what it needs.

    Args:
        root: The folder from which this package was imported.
        packages: Top-level packages that must come from there.

    Raises:
        InputError: If files of a checkout are missing, or another package has the name of one of ours.
    """
    missing = [name for name in _NEEDED if not (root / name).is_file()]
    if missing:
        raise InputError(
            f"perennial was installed as a package into {root}, which lacks {', '.join(missing)}; it runs from a "
            "checkout only. Clone the repository and call 'make run' there."
        )
    for name in packages:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).parent if spec and spec.origin else None
        if origin != root / name:
            raise InputError(
                f"the package {name!r} is imported from {origin or 'nowhere'} instead of {root / name}; uninstall the "
                "other package of that name, or remove its folder from PYTHONPATH."
            )
