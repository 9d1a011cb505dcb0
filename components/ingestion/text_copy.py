"""Give DuckDB what it reads: UTF-8 text, not compressed, with one kind of line end. Other files are copied as such."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from components.shared.errors import InputError

_BLOCK = 1 << 22
_GUESSED = "windows-1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class _Lines:
    """The line ends of a file, while it is read in blocks."""

    crlf: int = 0
    lf: int = 0
    cr: int = 0
    _held: bytes = b""

    def count(self, block: bytes, *, final: bool = False) -> None:
        data = self._held + block
        # What follows a carriage return at the end of a block decides what it is.
        self._held = b"\r" if data.endswith(b"\r") and not final else b""
        data = data.removesuffix(b"\r") if self._held else data
        crlf = data.count(b"\r\n")
        self.crlf, self.lf, self.cr = (
            self.crlf + crlf,
            self.lf + data.count(b"\n") - crlf,
            self.cr + data.count(b"\r") - crlf,
        )

    @property
    def are_equal(self) -> bool:
        """Say whether DuckDB finds the ends of the rows; a line feed inside quotes counts as another kind."""
        return not (self.crlf and self.lf) and (self.cr == 0 or self.crlf + self.lf > 0)


def readable(name: str, file: Path, copy: Path, encoding: str | None = None) -> Path:
    """Return the file, or a copy with the same content that DuckDB can read.

    Args:
        name: The source's name, for messages.
        file: A text file, or one compressed with gzip.
        copy: Where to write the copy, if one is needed.
        encoding: The file's encoding; None is UTF-8, or UTF-16 or UTF-32 where the file shows that it is.

    Raises:
        InputError: If the file isn't text in its encoding; the sentence names the first wrong byte and its line.
    """
    encoding = encoding or detected(name, file)
    lines = _Lines()
    for block in _blocks(name, file, encoding):
        lines.count(block)
    lines.count(b"", final=True)
    if lines.are_equal and codecs.lookup(encoding).name == "utf-8" and not _is_compressed(file):
        return file
    with copy.open("wb") as stream:
        for block in _unified(_blocks(name, file, encoding)):
            stream.write(block)
    return copy


def detected(name: str, file: Path) -> str:
    """Return the Unicode encoding that the beginning of a file shows: by its mark, or by zero bytes."""
    with _opened(name, file) as stream:
        head = _read(name, file, stream, 512)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    # Without a mark every other byte of Western UTF-16 is zero, and no byte of a text in UTF-8 is.
    odd, even = head[1::2], head[::2]
    if odd and odd.count(0) > 0.8 * len(odd):
        return "utf-16-le"
    return "utf-16-be" if even and even.count(0) > 0.8 * len(even) else "utf-8"


def guessed(name: str, file: Path) -> str | None:
    """Return the encoding to try for a file that isn't Unicode; None for one that is, or that isn't text at all."""
    try:
        for _ in _blocks(name, file, detected(name, file)):
            pass
    except InputError:
        try:
            for _ in _blocks(name, file, _GUESSED):
                pass
        except InputError:
            return None
        return _GUESSED
    return None


def _opened(name: str, file: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file, "rb")) if _is_compressed(file) else file.open("rb")


def _is_compressed(file: Path) -> bool:
    return file.suffix.lower() == ".gz"


def _blocks(name: str, file: Path, encoding: str) -> Iterator[bytes]:
    """Yield the content as UTF-8, without a mark."""
    decoder = codecs.getincrementaldecoder("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)()
    position, line = 0, 1
    with _opened(name, file) as stream:
        while True:
            block = _read(name, file, stream, _BLOCK)
            held = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as problem:
                data = held + block
                at = min(problem.start, len(data) - 1)
                line += data.count(b"\n", 0, at)
                raise InputError(
                    _undecodable(name, file, encoding, position - len(held) + at, line, data[at])
                ) from None
            if "\0" in text:
                raise InputError(
                    f"source '{name}': {file.name} holds a zero byte, which no text has; expected "
                    f"{'UTF-8' if encoding == 'utf-8' else encoding} text. Save the table as CSV in UTF-8."
                )
            yield text.encode("utf-8")
            if not block:
                return
            position += len(block)
            line += block.count(b"\n")


def _read(name: str, file: Path, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise InputError(
            f"source '{name}': {file.name} is not a complete gzip file ({problem}); expected text compressed with "
            "gzip. Compress the table again."
        ) from None


def _undecodable(name: str, file: Path, encoding: str, position: int, line: int, byte: int) -> str:
    expected = "UTF-8" if encoding == "utf-8" else encoding
    where = f"source '{name}': byte {position} of {file.name} (line {line}) is 0x{byte:02x}, which is not {expected}"
    character = bytes([byte]).decode(_GUESSED, errors="ignore")
    if encoding != "utf-8" or not character.isprintable() or not character:
        return f"{where}; expected {expected} text. Save the table as UTF-8."
    return (
        f"{where}; expected UTF-8 text. In {_GUESSED} it is {character!r}: if that is right, set 'encoding: "
        f"{_GUESSED}' of the source, or save the table as UTF-8."
    )


def _unified(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """End every line with a line feed."""
    held = b""
    for block in blocks:
        data = held + block
        held = b"\r" if data.endswith(b"\r") else b""
        whole = data.removesuffix(b"\r") if held else data
        yield whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    yield b"\n" if held else b""
