"""What an image is made of: instructions, lock, source. The files that are hashed are the files that a build gets."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from components.shared.images import image
from pipelines.images.closure import closure, imported_by_functions

ROOT = Path(__file__).resolve().parents[2]
# The one recipe; what an image adds to it is in the 'image.yaml' of its folder.
DOCKERFILE = Path("infra") / "Dockerfile"
# Images run here, whatever computes their references.
PLATFORM = "CPython-3.11-linux/amd64"
# Largest sizes, in MiB above the base.
CEILINGS = Path("infra") / "image_sizes.yaml"
_UV = Path("infra") / "uv.txt"
_SETTINGS = "image.yaml"
# Each is started as the module __main__ of its folder.
_SERVERS = {"serving": Path("serving"), "collector": Path("serving") / "collector"}
# A string's hash decides the order of a set: with a fixed seed a step gives the same result every time.
_STEP_SETTINGS: dict[str, Any] = {"environment": {"PYTHONHASHSEED": "0"}}


@dataclass(frozen=True)
class Recipe:
    """How one image, or the virtualenv and source that a laptop takes instead, is made."""

    name: str
    root: Path
    folder: Path
    """The folder of the step, its variant, ``serving`` or the service, relative to ``root`` as all paths here."""
    modules: tuple[str, ...]
    """What is started in it; none for a service, which has no source of ours."""

    @property
    def lock(self) -> Path:
        """The hashed lock of what is installed."""
        return self.folder / "requirements.txt"

    @cached_property
    def source(self) -> tuple[Path, ...]:
        """What the modules need at run time, see ``closure``."""
        files = closure(self.modules, self.root)
        return tuple(path.relative_to(self.root) for path in files)

    @property
    def lock_hash(self) -> str:
        """SHA-256 of the lock."""
        return hashlib.sha256((self.root / self.lock).read_bytes()).hexdigest()

    @property
    def source_hash(self) -> str:
        """SHA-256 of the names and contents of the source."""
        return _digest(self._source())

    def tag(self, base: str | None) -> str:
        """Return 16 hexadecimal digits that change with anything that may change what runs.

        Args:
            base: The name of the image that it starts from: the tag covers everything that a build gets. None is this
                machine's interpreter: the tag covers its version, the platform, the lock and the source.
        """
        if base is None:
            where = [python_and_platform(), _digest(self._lock() | self._source())]
        else:
            where = [PLATFORM, base, _digest(self.files())]
        return hashlib.sha256("\0".join(where).encode()).hexdigest()[:16]

    def reference(self, base: str | None, registry: str = "") -> str:
        """Return the reference of the image; see the function of this name."""
        return f"{repository(self.name, registry)}:{self.tag(base)}"

    def files(self) -> dict[str, bytes]:
        """Return the files that a build gets, by their names in its context; the source is below ``source/``."""
        source = {f"source/{name}": content for name, content in self._source().items()}
        uv = (self.root / _UV).read_bytes()
        return {"Dockerfile": self._dockerfile().encode(), "uv.txt": uv, **self._lock(), **source}

    def context(self) -> bytes:
        """Return the build context as a tar archive: exactly ``files``, without times and owners."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            # An image without source of ours copies an empty folder.
            folder = tarfile.TarInfo("source")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            for name, content in sorted(self.files().items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    def _dockerfile(self) -> str:
        """Return the common recipe, followed by what this image adds to it."""
        common = (self.root / DOCKERFILE).read_text(encoding="utf-8")
        path = self.root / self.folder / _SETTINGS
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else _STEP_SETTINGS
        return common + instructions(settings)

    def _lock(self) -> dict[str, bytes]:
        return {"requirements.txt": (self.root / self.lock).read_bytes()}

    def _source(self) -> dict[str, bytes]:
        return {path.as_posix(): (self.root / path).read_bytes() for path in self.source}


def instructions(settings: Mapping[str, Any]) -> str:
    """Write the settings of an image as the last lines of its Dockerfile.

    Args:
        settings: ``environment`` (name to value), ``libraries`` (name of a shared library to the file below
            ``site-packages`` that it is), ``ports``, ``entrypoint`` and ``command`` (lists); each is optional.

    >>> print(instructions({"ports": [5000], "entrypoint": ["mlflow"], "command": ["server"]}), end="")
    EXPOSE 5000
    ENTRYPOINT ["mlflow"]
    CMD ["server"]
    """
    lines = [f"ENV {name}={value}" for name, value in settings.get("environment", {}).items()]
    if libraries := settings.get("libraries"):
        links = [
            f"ln -s /opt/venv/lib/python3*/site-packages/{path} /usr/local/lib/{name}"
            for name, path in libraries.items()
        ]
        lines += ["USER 0:0", f"RUN {' && '.join([*links, 'ldconfig'])}", "USER 65532:65532"]
    lines += [f"EXPOSE {' '.join(map(str, ports))}"] if (ports := settings.get("ports")) else []
    for key, instruction in (("entrypoint", "ENTRYPOINT"), ("command", "CMD")):
        lines += [f"{instruction} {json.dumps(settings[key])}"] if key in settings else []
    return "".join(f"{line}\n" for line in lines)


def steps(root: Path = ROOT) -> list[str]:
    """Name every step: a folder of components/ with a KFP component."""
    return sorted(path.parent.name for path in (root / "components").glob("*/component.py"))


def variants(root: Path = ROOT) -> dict[str, Path]:
    """Map each second image of a step to its folder: the same component, in the environment of another lock.

    Such a folder, inside that of the step, has a lock of its own.
    """
    locks = sorted((root / "components").glob("*/*/requirements.in"))
    return {f"{lock.parent.parent.name}_{lock.parent.name}": lock.parent.relative_to(root) for lock in locks}


def names(root: Path = ROOT) -> list[str]:
    """Name every image: the steps, their variants, the servers, and each service of infra/ that has image settings."""
    services = sorted(path.parent.name for path in (root / "infra").glob(f"*/{_SETTINGS}"))
    return [*steps(root), *variants(root), *_SERVERS, *services]


def chosen(image_names: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return the images named, ``data-validation`` or ``data_validation``, or all when none is named.

    Raises:
        InputError: If a name is unknown.
    """
    available = names(root)
    selected = [name.replace("-", "_") for name in image_names]
    if unknown := sorted(set(selected) - set(available)):
        raise InputError(f"there is no image {unknown[0]!r}; known are {available}.")
    return selected or available


def recipe(name: str, root: Path = ROOT) -> Recipe:
    """Return the recipe of an image."""
    if name in _SERVERS:
        return Recipe(name, root, _SERVERS[name], (f"{'.'.join(_SERVERS[name].parts)}.__main__",))
    folder = variants(root).get(name)
    component = root / (folder.parent if folder else Path("components") / name) / "component.py"
    if component.exists():
        own = folder or component.parent.relative_to(root)
        return Recipe(name, root, own, tuple(imported_by_functions(component, root)))
    return Recipe(name, root, Path("infra") / name, ())


def reference(name: str, base: str | None = None, registry: str = "", root: Path = ROOT) -> str:
    """Return the content-addressed reference of an image: equal references mean equal contents.

    Args:
        name: A step, ``serving``, or a service of infra/.
        base: Name of the image that it starts from, whose content is not looked at; None is what runs on a laptop: the
            lock's virtualenv and the source under this machine's interpreter.
        registry: Prefix such as ``registry.example.com/team``; none is this machine's engine.
        root: The folder with components/, serving/ and infra/.
    """
    return recipe(name, root).reference(base, registry)


def repository(name: str, registry: str = "") -> str:
    """Return where a registry keeps an image, without a tag.

    >>> repository("data_validation", "registry.example.com/team/")
    'registry.example.com/team/perennial/data-validation'
    """
    return f"{registry.rstrip('/')}/{image(name)}".lstrip("/")


def ceiling(name: str, root: Path = ROOT) -> int:
    """Return the largest size that an image may have above its base, in MiB.

    Raises:
        InputError: If the table has none.
    """
    table = yaml.safe_load((root / CEILINGS).read_text(encoding="utf-8"))
    if name not in table:
        raise InputError(f"{CEILINGS} has no size for {name!r}; add the MiB that it may have above its base.")
    return int(table[name])


def python_and_platform() -> str:
    """Describe this machine's interpreter, as far as it decides what a lock installs."""
    return f"{platform.python_implementation()}-{platform.python_version()}-{platform.system()}-{platform.machine()}"


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()
