"""Look for known vulnerabilities in every lock with pip-audit: ``python -m pipelines.images.vulnerabilities``."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import PerennialError, StepFailed
from pipelines.images import environments, locking

_PINNED = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^\]]+\])?==[^ \\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Vulnerability:
    """A known vulnerability of a locked package."""

    package: str
    """Name and version."""
    id: str
    fixed_in: tuple[str, ...]
    locks: tuple[str, ...]
    """Names of the locks that hold the package, see ``perennial lock``."""

    def __str__(self) -> str:
        fixed = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{self.package}: {self.id}, {fixed}; in the locks {', '.join(self.locks)}"


def pinned() -> Mapping[str, tuple[str, ...]]:
    """Return what all locks hold: ``name==version`` -> the names of the locks."""
    holders: dict[str, list[str]] = {}
    for name, lock in locking.locks().items():
        for package in _PINNED.findall(lock.path.read_text(encoding="utf-8")):
            holders.setdefault(package, []).append(name)
    return {package: tuple(names) for package, names in sorted(holders.items())}


def find(packages: Mapping[str, Iterable[str]], osv_url: str | None = None) -> list[Vulnerability]:
    """Ask the OSV database about packages.

    Args:
        packages: ``name==version`` -> the names of the locks that hold it.
        osv_url: Address of the database's query; None is the public one.

    Raises:
        StepFailed: If the database does not answer.
    """
    python = environments.virtualenv(
        environments.ROOT / "infra" / "pip_audit.txt",
        announce=lambda name: print(f"installing {name}", flush=True),
        name="pip-audit",
    )
    # Two versions of a package cannot stand in one file.
    vulnerabilities: list[Vulnerability] = []
    for part in _without_repeats(packages):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text("".join(f"{package}\n" for package in part), encoding="utf-8")
            command = [str(python), "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip"]
            command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"]
            command += ["--osv-url", osv_url] if osv_url else []
            done = subprocess.run(command, capture_output=True, text=True)
        try:
            answered = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise StepFailed(f"the vulnerability database does not answer ({last}); try again later.") from None
        for dependency in answered:
            package = f"{dependency['name']}=={dependency.get('version', '')}"
            holders = tuple(_locks(package, packages))
            vulnerabilities += [
                Vulnerability(package, advisory["id"], tuple(advisory["fix_versions"]), holders)
                for advisory in dependency.get("vulns", ())
            ]
    return vulnerabilities


def _without_repeats(packages: Iterable[str]) -> list[list[str]]:
    """Divide packages into lists in which each name occurs once.

    >>> _without_repeats(["a==1", "a==2", "b==1"])
    [['a==1', 'b==1'], ['a==2']]
    """
    parts: list[dict[str, str]] = []
    for package in packages:
        name = package.partition("==")[0].partition("[")[0]
        part = next((part for part in parts if name not in part), None)
        if part is None:
            parts.append(part := {})
        part[name] = package
    return [list(part.values()) for part in parts]


def _locks(package: str, packages: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the locks of a package, whose name the database may write in another way."""
    name, _, version = package.partition("==")
    holders = [
        locks
        for held, locks in packages.items()
        if held.partition("==")[2] == version and _normal(held.partition("==")[0]) == _normal(name)
    ]
    return sorted({lock for locks in holders for lock in locks})


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def main() -> int:
    """Print every vulnerability; return 1 if there is one."""
    packages = pinned()
    vulnerabilities = find(packages)
    for vulnerability in vulnerabilities:
        print(vulnerability)
    print(f"{len(packages)} versions in {len(locking.locks())} locks, {len(vulnerabilities)} known vulnerabilities")
    return 1 if vulnerabilities else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PerennialError as error:
        print(error, file=sys.stderr)
        sys.exit(5)
