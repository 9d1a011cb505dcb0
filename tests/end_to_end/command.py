"""The command as a user runs it, and a small table of which the project knows nothing."""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipelines import runs

PERENNIAL = Path(sys.executable).parent / "perennial"


def perennial(*arguments: object, cwd: Path, expect: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; a code other than ``expect`` fails the test with all that was printed."""
    done = subprocess.run(
        [str(PERENNIAL), *map(str, arguments)], cwd=cwd, env=os.environ | env, capture_output=True, text=True
    )
    assert expect is None or done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def shell(script: str, cwd: Path) -> str:
    """Run a block of a page, in which a failure of any line fails the test, and return what it printed."""
    path = f"{PERENNIAL.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-exc", script], cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def records(project: Path) -> list[dict[str, Any]]:
    """Read the records of a project's runs, oldest first."""
    folders = sorted(path.parent for path in project.glob(".perennial/runs/*/run.json"))
    return [runs.load(folder / "run.json").as_dict() for folder in folders]


def write_table(path: Path, rows: int = 900, seed: int = 1) -> Path:
    """Write a CSV about customers who rent vans: blanks in the names, gaps, numbers as text, yes and no."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(["customerID", "Größe", "km driven", "price per day", "driver smokes", "depot", "Churn"])
        for number in range(rows):
            km, price = rng.gauss(200, 80), rng.lognormvariate(3, 0.5)
            size, smokes = rng.choice(["S", "M", "L", "XL", "Übergröße"]), rng.random() < 0.3
            depot = rng.choice(["Nord", "Süd", "東"])
            pull = 0.02 * (km - 200) + 1.2 * smokes + (1.5 if depot == "東" else 0) - 1
            left = rng.random() < 1 / (1 + 2.718 ** -(2 * pull))
            out.writerow(
                [
                    f"V{number:05d}",
                    size,
                    "" if rng.random() < 0.05 else f"{km:.1f}",
                    f"{price:.2f}" if rng.random() > 0.02 else " ",
                    "Yes" if smokes else "No",
                    depot,
                    "Yes" if left else "No",
                ]
            )
    return path


def edit(project: Path, **sections: object) -> None:
    """Change sections of a project file: mappings are merged key by key, other values replaced."""
    file = project / "project.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, value in sections.items():
        content[section] = content.get(section, {}) | value if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


@contextmanager
def serving(project: Path, release: str = "") -> Iterator[None]:
    """Serve a project on free ports while the context lasts; the release is the one that has to answer."""
    command = [str(PERENNIAL), "serve", "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout and f"serving release {release}" in server.stdout.readline()
            yield
        finally:
            server.terminate()
