"""The audit log: an append-only file of what was decided, in which every entry holds the hash of the one before.

A changed entry no longer has its hash, and a removed or inserted one breaks the chain. Whoever can write the file can
rewrite the whole chain or cut its end off, too: only a head that is kept elsewhere shows that. Heads are kept in the
registry and beside the endpoint's journal, see ``pipelines/audit``.

Details name versions, runs and hashes. What is about a person stays out, so that forgetting somebody breaks no chain.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.errors import StepFailed

START = "0" * 64
"""What the first entry holds as the hash of the one before."""


@dataclass(frozen=True)
class AuditHead:
    """The newest entry of a log: its number, counted from 1, and its hash."""

    number: int
    digest: str

    def __str__(self) -> str:
        """Write it as the text that is kept elsewhere."""
        return f"{self.number}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> "AuditHead":
        """Read the text.

        >>> str(AuditHead.parse("3:ab"))
        '3:ab'

        Raises:
            StepFailed: If the text has another form.
        """
        number, _, digest = text.partition(":")
        if not number.isdigit() or not digest:
            raise StepFailed(f"{text[:80]!r} is not the head of an audit log; expected NUMBER:HASH.")
        return cls(int(number), digest)


@dataclass(frozen=True)
class AuditEntry:
    """What was decided: ``kind`` is a release, a rejection, a rollback, a look of monitoring or an incident."""

    number: int
    at: str
    kind: str
    who: str
    details: Mapping[str, Any]
    previous: str

    @property
    def digest(self) -> str:
        """Return the hash over everything, and thus over all entries before."""
        content = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def head(self) -> AuditHead:
        """Return the head of a log that ends here."""
        return AuditHead(self.number, self.digest)

    def line(self) -> bytes:
        """Return the entry as a line of the log."""
        return json.dumps(asdict(self) | {"hash": self.digest}, ensure_ascii=False).encode() + b"\n"


def append(path: Path, kind: str, who: str, details: Mapping[str, Any], now: datetime) -> AuditEntry:
    """Add an entry; it is on disk when this returns. What a killed process left of a line is removed.

    Args:
        path: The log; created if absent.
        kind: What was decided.
        who: The account that asked for it.
        details: Plain values, for JSON.
        now: When.

    Raises:
        StepFailed: If the newest entry cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        stream.truncate(whole)
        lines = content[:whole].splitlines()
        last = _parse(lines[-1], len(lines))[0] if lines else None
        entry = AuditEntry(
            number=last.number + 1 if last else 1,
            at=now.astimezone(UTC).isoformat(),
            kind=kind,
            who=who,
            details=json.loads(json.dumps(details)),
            previous=last.digest if last else START,
        )
        stream.write(entry.line())
        stream.flush()
        os.fsync(stream.fileno())
    return entry


def entries(path: Path) -> Iterator[AuditEntry]:
    """Return the complete entries, oldest first, or nothing without a log; an unreadable line raises StepFailed."""
    return (entry for entry, _ in _lines(path))


def problems(path: Path, heads: Mapping[str, AuditHead]) -> list[str]:
    """Say what was done to a log, one sentence each; nothing if it is what was written.

    Args:
        path: The log.
        heads: Where a head is kept to that head. It may be older than the newest entry.
    """
    wrong: list[str] = []
    digests: list[str] = []
    previous = START
    try:
        for number, (entry, written) in enumerate(_lines(path), 1):
            if entry.digest != written:
                wrong.append(f"entry {number} was edited: it does not have the hash that it was written with")
            if entry.previous != previous or entry.number != number:
                wrong.append(f"the chain breaks at line {number}: an entry before it was edited, removed or inserted")
            previous = written
            digests.append(entry.digest)
    except StepFailed as reason:
        return [*wrong, str(reason)]
    for where, head in heads.items():
        if head.number > len(digests):
            wrong.append(f"the end was cut off: {where} knows {head.number} entries, the log has {len(digests)}")
        elif digests[head.number - 1] != head.digest:
            wrong.append(f"the log was rewritten: its entry {head.number} is not the one that {where} knows")
    return wrong


def _lines(path: Path) -> Iterator[tuple[AuditEntry, str]]:
    """Yield each whole entry with the hash that it was written with."""
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        yield _parse(line, number)


def _parse(line: bytes, number: int) -> tuple[AuditEntry, str]:
    try:
        content = json.loads(line)
        written = content.pop("hash")
        return AuditEntry(**content), written
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"line {number} of the audit log cannot be read ({error}); the file was changed.") from error
