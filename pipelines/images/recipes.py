"""What an image is made of: recipe, lock, source. The files that are hashed are the files that a build sees."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.shared.errors import InputError
from components.shared.images import image
from pipelines.images import environments

# Images run here, whatever computes their references.
PLATFORM = "CPython-3.11-linux/amd64"
# Largest sizes, in MiB above the base.
CEILINGS = Path("infra") / "image_sizes.yaml"
_UV = Path("infra") / "uv.txt"


@dataclass(frozen=True)
class Recipe:
    """How one image is built; all paths are relative to the root of the repository."""

    name: str
    root: Path
    dockerfile: Path
    lock: Path
    source: tuple[Path, ...]
    arguments: Mapping[str, str]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the build sees."""
        return tuple(sorted({self.dockerfile, self.lock, _UV, *self.source}))

    @property
    def lock_hash(self) -> str:
        """SHA-256 of the lock."""
        return hashlib.sha256((self.root / self.lock).read_bytes()).hexdigest()

    @property
    def source_hash(self) -> str:
        """SHA-256 of the names and contents of the source."""
        return self._digest(self.source)

    def tag(self, base: str) -> str:
        """Return 16 hexadecimal digits for recipe, lock, source, the base's name, Python and platform."""
        parts = [PLATFORM, base, *(f"{key}={value}" for key, value in sorted(self.arguments.items()))]
        return hashlib.sha256("\0".join([*parts, self._digest(self.files)]).encode()).hexdigest()[:16]

    def context(self) -> bytes:
        """Return the build context as a tar archive: exactly ``files``, without times and owners."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in self.files:
                content = (self.root / path).read_bytes()
                entry = tarfile.TarInfo(path.as_posix())
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    def _digest(self, files: Iterable[Path]) -> str:
        digest = hashlib.sha256()
        for path in files:
            content = hashlib.sha256((self.root / path).read_bytes()).digest()
            digest.update(f"{path.as_posix()}\0".encode() + content)
        return digest.hexdigest()


def names(root: Path = environments.ROOT) -> list[str]:
    """Name every image: the steps, ``serving``, and each service of infra/ that has a recipe and a lock."""
    services = sorted(p.parent.name for p in (root / "infra").glob("*/Dockerfile") if _lock(p.parent).exists())
    return [*environments.steps(root), "serving", *services]


def chosen(wanted: Iterable[str], root: Path = environments.ROOT) -> list[str]:
    """Return the images named, ``data-validation`` or ``data_validation``, or all when none is named.

    Raises:
        InputError: If a name is unknown.
    """
    known = names(root)
    asked = [name.replace("-", "_") for name in wanted]
    if unknown := sorted(set(asked) - set(known)):
        raise InputError(f"there is no image {unknown[0]!r}; known are {known}.")
    return asked or known


def recipe(name: str, root: Path = environments.ROOT) -> Recipe:
    """Return the recipe of an image."""
    arguments: dict[str, str] = {}
    if name in environments.steps(root):
        folder, source = root / "components" / name, environments.source_files(name, root)
        dockerfile, arguments = root / "components" / "Dockerfile", {"COMPONENT": name}
    elif name == "serving":
        folder, source = root / "serving", environments.source_files(name, root)
        dockerfile = folder / "Dockerfile"
    else:
        folder = root / "infra" / name
        source, dockerfile = environments.files_of(folder), folder / "Dockerfile"
    return Recipe(
        name=name,
        root=root,
        dockerfile=dockerfile.relative_to(root),
        lock=_lock(folder).relative_to(root),
        source=tuple(path.relative_to(root) for path in source),
        arguments=arguments,
    )


def reference(name: str, base: str, registry: str = "", root: Path = environments.ROOT) -> str:
    """Return the content-addressed reference of an image: equal references mean equal contents.

    Args:
        name: A step, ``serving``, or a service of infra/.
        base: Name of the image that it starts from; its content is not looked at.
        registry: Prefix such as ``registry.example.com/team``; none is this machine's engine.
        root: Where components/, serving/ and infra/ lie.
    """
    return f"{repository(name, registry)}:{recipe(name, root).tag(base)}"


def repository(name: str, registry: str = "") -> str:
    """Return where a registry keeps an image, without a tag.

    >>> repository("data_validation", "registry.example.com/team/")
    'registry.example.com/team/perennial/data-validation'
    """
    return f"{registry.rstrip('/')}/{image(name)}".lstrip("/")


def ceiling(name: str, root: Path = environments.ROOT) -> int:
    """Return the largest size that an image may have above its base, in MiB.

    Raises:
        InputError: If the table has none.
    """
    table = yaml.safe_load((root / CEILINGS).read_text(encoding="utf-8"))
    if name not in table:
        raise InputError(f"{CEILINGS} has no size for {name!r}; add the MiB that it may have above its base.")
    return int(table[name])


def _lock(folder: Path) -> Path:
    return folder / "requirements.txt"
