"""Tensors of the Open Inference Protocol as columns: datatypes, shapes, raw bytes, missing rows."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.refusal import RequestRefused, short, shown
from serving.signature import Column, Signature

NUMBERS: dict[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
_ACCEPTED = {"numeric": (*NUMBERS,), "boolean": ("BOOL",), "categorical": ("BYTES",)}
DATATYPE = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
"""Datatypes in the model's metadata; any other number type is accepted as well."""


def check_datatype(signature: Signature, name: str, datatype: Any) -> None:
    """Refuse a tensor whose datatype cannot hold its feature."""
    accepted = _ACCEPTED[signature.features[name].type]
    if datatype not in accepted:
        raise RequestRefused(
            400, f"feature {short(name)}: datatype {short(datatype)}; expected one of {list(accepted)}.", "type"
        )


def rows_of(name: str, shape: Sequence[Any]) -> int:
    """Return the rows that a shape of (n,) or (n, 1) describes."""
    sizes = list(shape)
    if len(sizes) == 2 and sizes[1] == 1:
        sizes = sizes[:1]
    if len(sizes) != 1 or type(sizes[0]) is not int or sizes[0] < 0:
        raise RequestRefused(
            400, f"feature {short(name)}: shape {str(list(shape))[:80]}; expected [rows] or [rows, 1].", "shape"
        )
    return sizes[0]


def common_rows(rows: dict[str, int]) -> int:
    """Return the number of rows on which all features agree."""
    first = next(iter(rows), None)
    for name, count in rows.items():
        if count != rows[first]:  # type: ignore[index]
            raise RequestRefused(
                400,
                f"feature {short(name)} has {count} rows and {short(first)} has {rows[first]}; "  # type: ignore[index]
                "expected the same number in every feature.",
                "shape",
            )
    return rows[first] if first is not None else 0


def check_length(name: str, length: int, rows: int) -> None:
    """Refuse data whose length is not that of its shape."""
    if length != rows:
        raise RequestRefused(400, f"feature {short(name)}: {length} values for a shape of {rows} rows.", "shape")


def from_raw(name: str, datatype: str, raw: bytes, rows: int) -> Column:
    """Decode the little-endian bytes of a tensor."""
    if datatype == "BYTES":
        return from_bytes(name, _split(name, raw), rows)
    if datatype == "BOOL":
        check_length(name, len(raw), rows)
        if set(raw) - {0, 1}:
            raise RequestRefused(400, f"feature {short(name)}: a BOOL byte is neither 0 nor 1.", "type")
        return [bool(value) for value in raw]
    if len(raw) % NUMBERS[datatype].itemsize:
        raise RequestRefused(
            400, f"feature {short(name)}: {len(raw)} bytes are not a whole number of {datatype} values.", "shape"
        )
    return from_numbers(name, np.frombuffer(raw, dtype=NUMBERS[datatype]), rows)


def from_numbers(name: str, values: Any, rows: int) -> np.ndarray:
    """Take numbers as float64; NaN is refused, because missing values are named by their rows."""
    column = np.array(values, dtype=np.float64)
    check_length(name, len(column), rows)
    if np.isnan(column).any():
        row = int(np.isnan(column).argmax())
        raise RequestRefused(
            400,
            f"feature {short(name)}, row {row}: NaN is not a value; "
            "name missing rows in the tensor's parameter 'missing' ('0,7'), or send null in JSON.",
            "infinite",
        )
    return column


def from_bytes(name: str, values: Sequence[bytes], rows: int) -> list[str]:
    """Take UTF-8 texts."""
    check_length(name, len(values), rows)
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as broken:
        raise RequestRefused(400, f"feature {short(name)}: a text is not UTF-8.", "json") from broken


def with_missing(name: str, column: Column, rows: Any) -> Column:
    """Empty the rows that the tensor's parameter ``missing`` names, as '0,7'."""
    try:
        named = [int(part) for part in rows.split(",") if part.strip()]
    except (AttributeError, ValueError) as broken:
        raise RequestRefused(
            400, f"feature {short(name)}: parameter 'missing' is {shown(rows)}; expected '0,7'.", "type"
        ) from broken
    emptied = np.array(column, dtype=np.float64) if isinstance(column, np.ndarray) else list(column)
    for row in named:
        if not 0 <= row < len(emptied):
            raise RequestRefused(
                400,
                f"feature {short(name)}: parameter 'missing' names row {row}; there are {len(emptied)} rows.",
                "shape",
            )
        emptied[row] = np.nan if isinstance(emptied, np.ndarray) else None
    return emptied


def to_raw(datatype: str, values: Sequence[Any]) -> bytes:
    """Encode the values of an answer's tensor, FP32 or BYTES, as little-endian bytes.

    >>> to_raw("FP32", [1.0]).hex(), to_raw("BYTES", ["no"])
    ('0000803f', b'\\x02\\x00\\x00\\x00no')
    """
    if datatype != "BYTES":
        return np.array(values, dtype=NUMBERS[datatype]).tobytes()
    return b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, values))


def _split(name: str, raw: bytes) -> list[bytes]:
    values, offset = [], 0
    while offset < len(raw):
        if offset + 4 > len(raw):
            raise RequestRefused(400, f"feature {short(name)}: the BYTES tensor ends within a length.", "shape")
        (length,) = struct.unpack_from("<I", raw, offset)
        offset += 4 + length
        if offset > len(raw):
            raise RequestRefused(400, f"feature {short(name)}: the BYTES tensor ends within a text.", "shape")
        values.append(raw[offset - length : offset])
    return values
