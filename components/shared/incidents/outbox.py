"""Messages that wait until their sink has taken them, so that an outage of a sink loses none.

A message is a file before anything is sent, one for each sink, and goes only once the sink has taken it. So a message
may come twice (its ``id`` tells), and never gets lost. Each sink gets its messages in the order in which they were put.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import filelock

from components.shared.incidents import sinks
from components.shared.incidents.message import Message
from components.shared.incidents.sinks import NotDelivered
from components.shared.project import Sink


@dataclass(frozen=True)
class Waiting:
    """Messages that a sink has not taken.

    Attributes:
        sink: Name of the sink in the project file.
        messages: How many.
        reason: Why; the sink's own words for the first of them.
    """

    sink: str
    messages: int
    reason: str


def put(folder: Path, named: Mapping[str, Sink], message: Message) -> None:
    """Keep a message for every sink that wants it; nothing is sent yet.

    Args:
        folder: The outbox; created if absent.
        named: The sinks of the project file by name.
        message: The message.
    """
    with _locked(folder):
        for name, sink in named.items():
            if sinks.wants(sink, message.event):
                numbers = [_number(path) for path in _files(folder / name)]
                # The id makes the name unique where somebody else numbers a copy of this outbox.
                message.write(folder / name / f"{max(numbers, default=0) + 1:06d}-{message.id}.json")


def deliver(
    folder: Path,
    named: Mapping[str, Sink],
    root: Path,
    send: Callable[[Sink, Message, Path], None] = sinks.send,
) -> list[Waiting]:
    """Send what waits, and return what still does.

    A sink that fails is left alone until the next time, since what comes later must not overtake. Messages for a sink
    that the project file no longer names wait until somebody deletes them.

    Args:
        folder: The outbox.
        named: The sinks of the project file by name.
        root: The project's folder.
        send: Hands one message to one sink, or raises ``NotDelivered``.
    """
    if not folder.exists():
        return []
    with _locked(folder):
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        waiting = (_delivered(folder / name, named.get(name), root, send) for name in names)
        return [left for left in waiting if left is not None]


def _delivered(
    folder: Path, sink: Sink | None, root: Path, send: Callable[[Sink, Message, Path], None]
) -> Waiting | None:
    """Send the messages of one sink; return what is left."""
    paths = _files(folder)
    for sent, path in enumerate(paths):
        try:
            if sink is None:
                raise NotDelivered("the project file no longer names it")
            send(sink, Message.read(path), root)
        except NotDelivered as error:
            return Waiting(folder.name, len(paths) - sent, str(error))
        path.unlink()
    return None


def _files(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.json") if not path.name.startswith(".")), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[0])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time put and deliver."""
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        yield
