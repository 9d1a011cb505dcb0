"""Runs inside an image, with its Python alone: says what is installed there, as JSON."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

_FORMAT = "${Package}\t${Version}\t${Architecture}\n"


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the licence's expression or name; some packages put its whole text there, which is no name."""
    for field in ("License-Expression", "License"):
        for words in metadata.get_all(field, []):
            if "\n" not in words and words not in ("", "UNKNOWN"):
                return str(words)
    trove = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    return trove[0] if trove else ""


def _packages(path: list[str]) -> dict[str, list[str]]:
    distributions = importlib.metadata.distributions(path=path)
    return {
        distribution.metadata["Name"]: [distribution.version, _licence(distribution.metadata)]
        for distribution in distributions
    }


def _debian() -> "list[list[str]] | None":
    try:
        listed = subprocess.run(["dpkg-query", "-W", "-f", _FORMAT], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return None
    return [line.split("\t") for line in listed.splitlines()]


if __name__ == "__main__":
    below = str(Path(sys.base_prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages")
    survey = {
        "python": platform.python_version(),
        "packages": _packages(sys.path),
        "below": _packages([below]),
        "debian": _debian(),
    }
    print(json.dumps(survey))
