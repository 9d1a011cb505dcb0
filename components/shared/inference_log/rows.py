"""Turn a segment of the inference log into a table with one row per scored row."""

import hashlib
import io
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pa_json

from components.shared.errors import StepFailed
from components.shared.inference_log.columns import ENCODED, RECEIVED, RECEIVED_TYPES
from components.shared.inference_log.segments import SegmentHeader, whole_lines

_LONGEST_LINE = 256 * 2**20


class SegmentRows(NamedTuple):
    """The rows of one segment.

    Attributes:
        table: One row per scored row; see ``schema``.
        torn_bytes: Length of a last line that was cut off.
    """

    table: pa.Table
    torn_bytes: int


def read(path: Path) -> SegmentRows:
    """Read one complete segment.

    Raises:
        StepFailed: If it is not a segment of the inference log, or a line other than the last is damaged.
    """
    lines, torn_bytes = whole_lines(path.read_bytes())
    first, _, rest = lines.partition(b"\n")
    if not first and not rest:
        return SegmentRows(pa.table({}), torn_bytes)
    header = SegmentHeader.parse(first, str(path))
    if not rest:
        return SegmentRows(schema(header).empty_table(), torn_bytes)
    try:
        requests = pa_json.read_json(
            io.BytesIO(rest),
            read_options=pa_json.ReadOptions(block_size=min(max(len(rest), 1), _LONGEST_LINE)),
            parse_options=pa_json.ParseOptions(
                explicit_schema=_line_schema(header), unexpected_field_behavior="ignore"
            ),
        )
        return SegmentRows(_rows(requests.combine_chunks(), header), torn_bytes)
    except (pa.ArrowInvalid, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StepFailed(f"the inference log {path} is damaged ({reason}); move that file away.") from error


def schema(header: SegmentHeader) -> pa.Schema:
    """Return the columns of the rows of a release.

    ``event_time`` is what the features describe: ``at`` where the request did not say. ``action`` and ``propensity``
    say what was answered and with what probability, where decisions are explored. ``shadow`` rows were answered to
    nobody; the row with the same ``request_id`` that is no shadow was. ``feature_times_us`` is a JSON object of the
    event times of features that were looked up, by view. ``id_hash`` finds a request without reading its text.
    """
    return pa.schema(
        [
            ("request_id", pa.string()),
            ("id_hash", pa.uint64()),
            ("row", pa.int32()),
            ("at", pa.timestamp("us", tz="UTC")),
            ("event_time", pa.timestamp("us", tz="UTC")),
            ("protocol", pa.string()),
            ("model", pa.string()),
            ("release", pa.string()),
            ("entity", pa.string()),
            ("latency_us", pa.float32()),
            ("score", pa.float32()),
            ("scores", pa.list_(pa.float32())),
            ("decision", pa.string()),
            ("unseen", pa.list_(pa.string())),
            ("action", pa.string()),
            ("propensity", pa.float64()),
            ("shadow", pa.bool_()),
            ("feature_times_us", pa.string()),
        ]
        + [(RECEIVED + feature.name, RECEIVED_TYPES[feature.type]) for feature in header.features]
        + [(ENCODED + name, pa.float32()) for name in header.encoded]
    )


def id_hash(request_ids: "pa.Array | list[str]") -> np.ndarray:
    """Hash request ids to 64 bits: (n,) uint64; the same on every machine."""
    texts = request_ids.to_pylist() if isinstance(request_ids, pa.Array) else request_ids
    return np.array(
        [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) for text in texts], np.uint64
    )


def _line_schema(header: SegmentHeader) -> pa.Schema:
    score = pa.list_(pa.list_(pa.float32())) if header.classes else pa.list_(pa.float32())
    received = [(feature.name, pa.list_(RECEIVED_TYPES[feature.type])) for feature in header.features]
    return pa.schema(
        [
            ("id", pa.string()),
            ("at_ns", pa.int64()),
            ("event_time_us", pa.int64()),
            ("protocol", pa.string()),
            ("rows", pa.int32()),
            ("latency_us", pa.float32()),
            ("entity", pa.list_(pa.string())),
            ("received", pa.struct(received)),
            ("encoded", pa.string()),
            ("numbers", pa.string()),
            ("score", score),
            ("decision", pa.list_(pa.string())),
            ("unseen", pa.list_(pa.list_(pa.string()))),
            ("action", pa.list_(pa.string())),
            ("propensity", pa.list_(pa.float64())),
            ("shadow", pa.bool_()),
            ("feature_times_us", pa.list_(pa.string())),
        ]
    )


def _rows(requests: pa.Table, header: SegmentHeader) -> pa.Table:
    """Return the rows of all requests in their order, whichever way each was written."""
    is_matrix = requests["numbers"].is_valid().to_numpy()
    if is_matrix.all() or not is_matrix.any():
        return _exploded(requests, header)
    order = np.argsort(is_matrix, kind="stable")
    together = pa.concat_tables(_exploded(requests.filter(pa.array(part)), header) for part in (~is_matrix, is_matrix))
    # The rows without a matrix come first here; each goes back to where its request was.
    requests_of_rows = np.repeat(order, requests["rows"].to_numpy()[order])
    return together.take(np.argsort(requests_of_rows, kind="stable"))


def _exploded(requests: pa.Table, header: SegmentHeader) -> pa.Table:
    """Repeat what belongs to a request for each of its rows, and lay the columns of the requests end to end."""
    counts = requests["rows"].to_numpy()
    parents = pa.array(np.repeat(np.arange(len(counts)), counts))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    total = int(counts.sum())
    per_request = requests.take(parents)
    columns: dict[str, Any] = {
        "request_id": per_request["id"],
        "id_hash": pa.array(np.repeat(id_hash(requests["id"].combine_chunks()), counts)),
        "row": pa.array((np.arange(total) - starts).astype(np.int32)),
        "at": pc.cast(pc.divide(per_request["at_ns"], 1000), pa.timestamp("us", tz="UTC")),
        "event_time": pc.coalesce(per_request["event_time_us"], pc.divide(per_request["at_ns"], 1000)).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "protocol": per_request["protocol"],
        "model": pa.repeat(pa.scalar(header.model), total),
        "release": pa.repeat(pa.scalar(header.release), total),
        "entity": _entities(requests, counts, total),
        "latency_us": per_request["latency_us"],
        "shadow": pc.fill_null(per_request["shadow"], False),
        "decision": _optional(requests["decision"], counts, total),
        "unseen": _unseen(requests, counts, total),
        "action": _optional(requests["action"], counts, total),
        "feature_times_us": _optional(requests["feature_times_us"], counts, total),
        "propensity": _optional(requests["propensity"], counts, total),
        "scores" if header.classes else "score": _flat(requests["score"], total),
    }
    columns |= _features(requests, header, counts, total)
    expected = schema(header)
    return pa.table([columns.get(field.name, pa.nulls(total, field.type)) for field in expected], schema=expected)


def _features(requests: pa.Table, header: SegmentHeader, counts: np.ndarray, total: int) -> dict[str, pa.Array]:
    """Return the features as received and as the model saw them; all requests are written the same way."""
    columns: dict[str, pa.Array] = {}
    numbers: dict[str, np.ndarray] = {}
    if total and requests["numbers"].null_count == 0:
        matrix = _as_received(requests["numbers"], counts, len(header.encoded))
        numbers = dict(zip(header.encoded, matrix, strict=True))
        seen = matrix.astype(np.float32)
    else:
        seen = _matrix(requests["encoded"], total, len(header.encoded)).T
    for feature in header.features:
        if feature.name in numbers:
            values = pa.array(numbers[feature.name], pa.float64(), from_pandas=True)
            columns[RECEIVED + feature.name] = values.cast(RECEIVED_TYPES[feature.type])
        else:
            columns[RECEIVED + feature.name] = _flat(pc.struct_field(requests["received"], feature.name), total)
    for name, values in zip(header.encoded, seen, strict=True):
        columns[ENCODED + name] = pa.array(np.ascontiguousarray(values), pa.float32(), from_pandas=True)
    return columns


def _as_received(numbers: pa.ChunkedArray, counts: np.ndarray, width: int) -> np.ndarray:
    """Decode the matrices of all requests: (width, total) float64, NaN where a value is missing."""
    contents = zip(numbers.to_pylist(), counts.tolist(), strict=True)
    return np.concatenate(
        [np.frombuffer(b64decode(text), "<f8").reshape(width, rows) for text, rows in contents], axis=1
    )


def _flat(lists: pa.ChunkedArray, total: int) -> pa.Array:
    """Lay lists with one value per row end to end."""
    flat = pc.list_flatten(lists).combine_chunks()
    if len(flat) != total:
        raise ValueError(f"{len(flat)} values for {total} rows")
    return flat


def _matrix(encoded: pa.ChunkedArray, total: int, width: int) -> np.ndarray:
    """Decode the matrices of all requests: (total, width) float32, NaN where a value is missing."""
    content = b"".join(map(b64decode, encoded.to_pylist()))
    return np.frombuffer(content, "<f4").reshape(total, width)


def _optional(lists: pa.ChunkedArray, counts: np.ndarray, total: int) -> pa.Array:
    """Lay lists end to end of which a request may have none."""
    if lists.null_count == len(lists):
        return pa.nulls(total, lists.type.value_type)
    if lists.null_count == 0:
        return _flat(lists, total)
    values: list[Any] = []
    for content, rows in zip(lists.to_pylist(), counts.tolist(), strict=True):
        values += [None] * rows if content is None else content
    return pa.array(values, lists.type.value_type)


def _entities(requests: pa.Table, counts: np.ndarray, total: int) -> pa.Array:
    if requests["entity"].null_count == len(requests):
        return pa.nulls(total, pa.string())
    values: list[str | None] = []
    for entities, rows in zip(requests["entity"].to_pylist(), counts.tolist(), strict=True):
        values += [None] * rows if entities is None else entities * rows if len(entities) == 1 else entities
    return pa.array(values, pa.string())


def _unseen(requests: pa.Table, counts: np.ndarray, total: int) -> pa.Array:
    """Name the features of a row whose category was never seen; most requests have none."""
    values: list[list[str] | None] = [None] * total
    starts = np.cumsum(counts) - counts
    for index in np.flatnonzero(requests["unseen"].is_valid().to_numpy()).tolist():
        names = requests["unseen"][index].as_py()
        values[starts[index] : starts[index] + len(names)] = [row or None for row in names]
    return pa.array(values, pa.list_(pa.string()))
