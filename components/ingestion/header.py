"""The header of a CSV file: the names of its columns, its delimiter, and the lines before it."""

import csv
import itertools
import mmap
from dataclasses import dataclass
from pathlib import Path

from components.shared.blank import BLANKS
from components.shared.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = "sep="
_LINES = 5
UNNAMED = "Unnamed: 0"
# A line is a row of a table, so one this long is something else.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Header:
    """The names of the columns, the delimiter, and how many lines come before them."""

    names: tuple[str, ...]
    delimiter: str
    skipped: int
    line: str
    """The header as it stands in the file, without its line end."""
    texts: tuple[str, ...]
    """The values of the header, as they stand in the file."""


def read(name: str, file: Path, shown: str | None = None) -> Header:
    """Read the first row of a CSV file in UTF-8. Blanks around a name are not part of it.

    A first column without a name is a row index that the file's writer added; it gets the name that pandas gives it.

    The delimiter is the comma, semicolon, tab or vertical bar that splits the first row into most fields, or the one
    that a first line ``sep=;`` names, which spreadsheets write.

    Args:
        name: The source's name, for messages.
        file: The file.
        shown: The file's name for messages, where ``file`` is a copy.

    Raises:
        InputError: If there is no header, it is not one, or it ends with a delimiter.
    """
    shown = shown or file.name
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = [stream.readline(_LONGEST) for _ in range(_LINES)]
        first = lines[0].rstrip("\r\n")
        declared = first[len(_SEPARATOR) :] if first.lower().startswith(_SEPARATOR) else ""
        skipped = 1 if len(declared) == 1 else 0
        if not lines[skipped].strip():
            raise InputError(
                f"source '{name}': {shown} is empty or starts with an empty line; expected a header row with the "
                "column names. Add the header."
            )
        try:
            delimiter = declared if skipped else _most_fields(lines[0])
            _check_title(name, shown, lines[skipped:])
            stream.seek(0)
            row = next(csv.reader(itertools.islice(stream, skipped, None), delimiter=delimiter))
        except (csv.Error, StopIteration):
            raise InputError(_unclosed(name, shown)) from None
    names = [column.strip(BLANKS) for column in row]
    if any(len(column) > 1000 for column in names):
        raise InputError(_unclosed(name, shown))
    if not names[-1]:
        raise InputError(
            f"source '{name}': the header of {shown} ends with a delimiter; expected a name for each of the "
            f"{len(names)} columns. Name or drop the last column."
        )
    if not names[0] and any(names):
        names[0] = UNNAMED
    return Header(tuple(names), delimiter, skipped, lines[skipped].rstrip("\r\n"), tuple(row))


def repeats(file: Path, header: Header) -> int:
    """Count the later lines of a file in UTF-8 that are equal to its header."""
    if len(header.names) < 2:
        return 0
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        line = b"\n" + header.line.encode()
        count, position = 0, content.find(line)
        while position >= 0:
            end = position + len(line)
            count += content[end : end + 1] in (b"", b"\r", b"\n")
            position = content.find(line, end)
    return count - header.skipped


def _most_fields(line: str) -> str:
    return max(_DELIMITERS, key=lambda candidate: len(_fields(line, candidate)))


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _check_title(name: str, shown: str, lines: list[str]) -> None:
    """Refuse a first line with one value above a line with several, each of which has a value: that is the header."""
    title = [field.strip() for field in _fields(lines[0], _most_fields(lines[0])) if field.strip()]
    if len(title) != 1:
        return
    for position, line in enumerate(lines[1:], start=2):
        columns = [field.strip() for field in _fields(line, _most_fields(line))]
        if len(columns) > 1 and all(columns):
            raise InputError(
                f"source '{name}': line 1 of {shown} is {title[0][:60]!r}, which looks like a title; expected the "
                f"column names, which seem to be in line {position}. Remove the lines above them."
            )


def _unclosed(name: str, shown: str) -> str:
    return (
        f"source '{name}': the header of {shown} has a name with more than 1,000 characters; expected one row of "
        'column names. Close the quote (") that is open there, or check that the file is a CSV file.'
    )
