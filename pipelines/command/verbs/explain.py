"""``perennial explain``: trace one answer back to the release, the data and the code that made it."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import pyarrow as pa

from components.shared import audit, inference, label_store, registry
from components.shared.documents.verdict import Verdict
from components.shared.errors import InputError, StepFailed
from components.shared.evidence import COMMIT
from components.shared.inference_log import lookup
from components.shared.inference_log.columns import ENCODED, RECEIVED
from components.shared.measures.metric_names import PRIMARY
from components.shared.release import endpoint_folder
from components.shared.wording import number, significant
from pipelines.command.options import TargetOptions
from pipelines.targets.protocol import Backend

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_WIDTH = 10


def explain(options: TargetOptions, request_id: str) -> None:
    """Print what was asked, what was answered and why that release answered so.

    Raises:
        InputError: If the log does not have the request.
    """
    backend = options.open()
    backend.check_machine()
    logged_rows = lookup.find(backend.state.inference_log, request_id)
    if logged_rows is None:
        raise InputError(
            f"the log has no request {request_id!r}; expected the id that an answer returned. A request may be missing "
            "because it is newer than a few seconds, not in the sample that is logged, too old, or forgotten."
        )
    labels = label_store.of_request(backend.state.labels, logged_rows)
    for row in logged_rows.to_pylist():
        for name, text in _row(row, logged_rows, labels.get(row["row"])):
            _say(name, text)
        for name, text in _because(backend, row):
            _say(name, text)
    for name, text in _released(backend, logged_rows["release"][0].as_py()):
        _say(name, text)
    client = backend.open_registry()
    version = None
    if client is not None:
        version = registry.version(client, backend.project.name, logged_rows["release"][0].as_py())
    if client is None or version is None:
        _say("made by", "unknown: the registry no longer has this version")
        return
    for name, text in _lineage(backend, client, version):
        _say(name, text)


def _say(name: str, text: str) -> None:
    click.echo(f"{name:<{_WIDTH}}{text}")


def _row(row: dict[str, Any], table: pa.Table, label: str | None) -> Iterator[tuple[str, str]]:
    """Say what was asked and answered of one row."""
    yield "request", f"{row['request_id']}, row {row['row']}, over {row['protocol']} at {_moment(row['at'])}"
    if row["entity"] is not None:
        yield "entity", row["entity"]
    if row["event_time"] != row["at"]:
        yield "about", _moment(row["event_time"])
    for name in (name for name in table.column_names if name.startswith(RECEIVED)):
        feature = name.removeprefix(RECEIVED)
        value = "missing" if row[name] is None else _value(row[name])
        seen = row.get(ENCODED + feature)
        differs = seen is not None and isinstance(row[name], float) and abs(seen - row[name]) > 1e-6 * abs(row[name])
        unseen = ", never seen in training" if feature in (row["unseen"] or ()) else ""
        yield "feature", f"{feature} = {value}{f', as the model saw it: {seen:.7g}' if differs else ''}{unseen}"
    score = row["score"] if row["scores"] is None else row["scores"]
    yield "score", _value(score) if isinstance(score, float) else ", ".join(map(_value, score))
    if row["decision"] is not None:
        yield "decision", row["decision"]
    if row["action"] is not None:
        yield "answered", f"{row['action']}, with a probability of {row['propensity']:.3g} (exploration)"
    yield "took", f"{row['latency_us'] / 1000:.2f} ms"
    if label is not None:
        yield "label", label
    yield "release", row["release"]


def _because(backend: Backend, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what the features contributed to the score, largest first, if a server still has the release."""
    features = {name.removeprefix(RECEIVED): value for name, value in row.items() if name.startswith(RECEIVED)}
    server = endpoint_folder.server(backend.state.endpoint)
    if server is None:
        yield "because", "unknown while no server runs; start one with 'perennial serve'"
        return
    model, version = backend.project.name, row["release"]
    try:
        # The log's files have the features of all releases.
        status, described = inference.call(server.url, f"/v2/models/{quote(model)}/versions/{quote(version)}")
        features_of_release = (
            [tensor["name"] for tensor in described.get("inputs", ())] if status == 200 else list(features)
        )
        if unlogged := sorted(set(features_of_release) - features.keys()):
            yield "because", f"unknown: the features {unlogged} are not logged"
            return
        sent = {feature: features[feature] for feature in features_of_release}
        answer = inference.predict(server.url, model, [sent], version=version, explains=True)
    except (InputError, StepFailed) as refused:
        yield "because", f"unknown: {refused}"
        return
    [explained] = answer["predictions"]
    for name, value in inference.largest_first(explained["contributions"]).items():
        values = value if isinstance(value, list) else [value]
        yield "because", f"{name} contributed {', '.join(f'{one:+.4f}' for one in values)}"
    for name, text in (("base", explained["base"]), ("margin", explained["margin"])):
        yield name, ", ".join(map(_value, text if isinstance(text, list) else [text]))


def _released(backend: Backend, version: str) -> Iterator[tuple[str, str]]:
    """Say who released a version, and each time it was returned to."""
    for entry in audit.entries(backend.state.audit):
        if entry.kind in ("release", "rollback") and entry.details.get("version") == version:
            done = "released" if entry.kind == "release" else "returned"
            yield done, f"by {entry.who}, {_moment(datetime.fromisoformat(entry.at))} (audit entry {entry.number})"


def _lineage(backend: Backend, client: "MlflowClient", version: "ModelVersion") -> Iterator[tuple[str, str]]:
    """Say what made a version: its run, its data, its code and the gate's verdict."""
    run: Run = client.get_run(str(version.run_id))
    tags = run.data.tags
    created = datetime.fromtimestamp(int(version.creation_timestamp) / 1000, UTC)
    yield "made by", f"run {version.run_id} of the registry, {_moment(created)}"
    dirty = " with uncommitted changes" if tags.get("perennial.code_dirty") == "true" else ""
    yield "code", f"commit {tags.get(COMMIT, 'unknown')}{dirty}"
    signer = version.tags.get(registry.SIGNED_BY)
    yield "signed", f"by the key {signer}" if signer else "by no key"
    yield "data", f"snapshot {tags.get(registry.SNAPSHOT, 'unknown')}"
    yield "weights", tags.get("perennial.weights_hash", "unknown")
    for name, digest in sorted(tags.items()):
        if name.startswith("lock."):
            yield "packages", f"{name.removeprefix('lock.')}: {digest}"
    primary = backend.project.evaluation.primary
    metric = primary or PRIMARY[backend.project.task]
    if (value := run.data.metrics.get(f"test.{metric}")) is not None:
        yield "tested", f"{metric} {significant(value)} on the test rows"
    for rule in _verdict(client, str(version.run_id)).rules:
        yield "gate", f"{'passed' if rule.passed else 'failed'}: {rule.reason}"


def _verdict(client: "MlflowClient", run_id: str) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        return Verdict.read(Path(client.download_artifacts(run_id, Verdict.FILE, folder)))


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
