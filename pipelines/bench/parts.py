"""The parts of the benchmark: what each measures, against which alternative, in the virtualenv of what it measures."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.shared import telemetry
from components.shared.errors import StepFailed
from pipelines import runs
from pipelines.bench import beside, example, serving, starting
from pipelines.bench.detected import Detected
from pipelines.bench.memory import slope
from pipelines.bench.repeats import ratio, shown
from pipelines.images import environments

TOOLS = Path(__file__).with_name("requirements.txt")


class Row(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    beside: str
    ratio: str


@dataclass(frozen=True)
class BenchPart:
    """One part of the benchmark."""

    measure: Callable[["Workspace"], list[Row]]
    reading: str
    """How to read its rows, in one sentence."""
    long: bool = False
    """A long part runs only when it is named."""


class Workspace:
    """Where the parts of one run of the benchmark work, and what they share."""

    def __init__(self, folder: Path) -> None:
        """Use an empty folder; nothing is run yet."""
        self.folder = folder

    @functools.cached_property
    def example(self) -> runs.Run:
        """A run of the shipped example, for real splits and a real model; the first part that needs it runs it.

        Raises:
            StepFailed: If the run neither released a model nor ended at the gate.
        """
        return example.run(self.folder / "example")

    def run(self, python: Path, module: str, folder: str, *arguments: object) -> Any:
        """Run one measurement as a process in a new folder, and return the JSON of its last line.

        Args:
            python: The interpreter.
            module: A module of this package.
            folder: Name of the folder; the module gets its path as its last argument.
            arguments: What the module gets before that.

        Raises:
            StepFailed: If the process fails.
        """
        path = self.folder / folder
        path.mkdir(parents=True)
        command = [str(python), "-m", f"pipelines.bench.{module}", *map(str, arguments), str(path)]
        env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | telemetry.OFF
        done = subprocess.run(command, cwd=environments.ROOT, env=env, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise StepFailed(
                f"the measurement {module!r} ended with exit code {done.returncode}; its output is printed above."
            )
        return json.loads(done.stdout.strip().splitlines()[-1])


def orchestration(workspace: Workspace) -> list[Row]:
    """Compare what a task costs here and in kfp's own runner."""
    measured = workspace.run(Path(sys.executable), "orchestration", "orchestration")
    ours = measured.pop("perennial")
    return [
        Row(
            "a task that does nothing",
            shown(ours, 2, "s"),
            f"{name}: {shown(theirs, 2, 's')}" if theirs else f"{name}: could not run",
            ratio(ours, theirs) if theirs else "",
        )
        for name, theirs in measured.items()
    ]


def first_run(workspace: Workspace, pairs: int = 3) -> list[Row]:
    """Compare the shipped example's first run with one whose interpreters don't start ahead."""
    ahead_s, alone_s = example.race(workspace.folder / "first-run", pairs)
    beside_it = f"each interpreter started with its task: {alone_s:.1f} s"
    return [Row("first run of the shipped example", f"{ahead_s:.1f} s", beside_it, f"{ahead_s / alone_s:.2f}")]


def memory(workspace: Workspace, sizes: Sequence[int] = (1_000_000, 5_000_000, 20_000_000)) -> list[Row]:
    """Measure the peak memory of every step at several sizes of a table."""
    measured = workspace.run(Path(sys.executable), "memory", "memory", *sizes)
    rows = []
    for step, peaks in measured.items():
        mib = {int(size): peak for size, peak in peaks.items()}
        at_sizes = ", ".join(f"{peak:,.0f} MiB at {size:,} rows" for size, peak in mib.items())
        added = f"{slope(mib):+,.0f} MiB per million rows"
        rows.append(Row(f"memory of {step}", at_sizes, added, f"{mib[max(mib)] / mib[min(mib)]:.2f}"))
    return rows


def validation(workspace: Workspace) -> list[Row]:
    """Compare data validation with a plain description of the same rows by polars."""
    python = environments.virtualenv(TOOLS, environments.lock_of("data_validation"), name="bench")
    rows = []
    for count, what in ((250_000, "all of them"), (1_000_000, "statistics of a sample of 250,000")):
        measured = workspace.run(python, "validation", f"validation{count}", count)
        ours, theirs = measured["validation_s"], measured["describe_s"]
        peak = f"{shown(ours, 1, 's')}, peak {measured['peak_mib']:.0f} MiB"
        beside = f"polars describe, all rows: {shown(theirs, 2, 's')}"
        rows.append(Row(f"validation of {count:,} rows x 20 columns, {what}", peak, beside, ratio(ours, theirs)))
    return rows


def drift(workspace: Workspace, seeds: int = 20) -> list[Row]:
    """Count in how many simulated businesses validation finds each switch, and in how many it alarms in vain."""
    measured = workspace.run(Path(sys.executable), "drift", "drift", seeds)
    return [Row(f"drift: findings in {name}", f"{found} of {seeds}", "", "") for name, found in measured.items()]


def detection(workspace: Workspace, seeds: int = 5) -> list[Row]:
    """Count in how many simulated streams monitoring finds each change, after how many days, and what comes in vain."""
    [environment] = environments.prepare(["drift"]).values()
    measured = workspace.run(environment.python, "detection", "detection", seeds)
    kinds = {name: Detected(**counts) for name, counts in measured.items()}
    return [
        Row(
            f"monitoring: {name}",
            _found(kind, seeds),
            f"{kind.incidents_in_vain} incidents in vain in {kind.harmless_months:.0f} months, {kind.quiet} of "
            f"{kind.windows} unchanged windows quiet",
            "" if kind.cause is None else f"cause right: {kind.right_cause} of {seeds}",
        )
        for name, kind in kinds.items()
    ]


def monitoring(workspace: Workspace, rows: int = 10_000_000, labels: int = 1_000_000) -> list[Row]:
    """Measure a look at a large log, and the drift tests of both libraries beside each other."""
    [environment] = environments.prepare(["log_window"]).values()
    measured = workspace.run(environment.python, "window", "window", rows, labels)
    step_s, join_s = measured["step_s"], measured["join_s"]
    what = f"window of {rows:,} logged rows, {labels:,} labels"
    peak = f"{step_s:.1f} s, peak {measured['peak_mib']:,.0f} MiB"
    table = [Row(what, peak, f"DuckDB, the join alone: {join_s:.1f} s", f"{step_s / join_s:.1f}")]
    tested = {}
    for library, step in (("open", "drift"), ("alibi", "alibi_drift")):
        [environment] = environments.prepare([step]).values()
        tested[library] = workspace.run(environment.python, "univariate", f"univariate-{library}", library, 100_000)
    for part, name in (("columns_s", "each of 20 columns by itself"), ("joint_s", "all columns together")):
        ours, theirs = tested["open"][part], tested["alibi"][part]
        what = f"drift of 100,000 rows, {name}"
        table.append(Row(what, f"{ours:.2f} s", f"Alibi Detect: {theirs:.2f} s", f"{ours / theirs:.1f}"))
    return table


def _found(kind: Detected, seeds: int) -> str:
    """Say in how many streams the change was found, and after how many days."""
    if not kind.expected:
        return "nothing to find"
    return f"{kind.found} of {seeds}" + (f", median {kind.delay_days:g} days" if kind.found else "")


def canary(workspace: Workspace, canaries: int = 5000) -> list[Row]:
    """Count canaries that are taken back in vain, and the requests that harm needs to be found."""
    [environment] = environments.prepare(["drift"]).values()
    measured = workspace.run(environment.python, "canary", "canary", canaries, 7)
    ours, theirs = measured["requests"], measured["sprt_requests"]
    return [
        Row("canaries like their champion that are taken back", f"{measured['taken_back']} of {canaries}", "", ""),
        Row(
            "requests until errors of 4 % instead of 2 % are found at 5 % of the traffic",
            f"{ours:,.0f}",
            f"sequential probability ratio test that knows the ratio: {theirs:,.0f}",
            f"{ours / theirs:.2f}",
        ),
    ]


def ab(workspace: Workspace, tests: int = 2000) -> list[Row]:
    """Count A/B tests of equal versions that find a difference, and those that find one of the wanted size."""
    [environment] = environments.prepare(["drift"]).values()
    measured = workspace.run(environment.python, "ab", "ab", tests, 7)
    apart, found = (int(measured[name]) for name in ("told_apart", "found"))
    spread = 1.96 * (apart * (tests - apart) / tests**3) ** 0.5
    type_1 = f"{apart} of {tests}, {apart / tests:.1%} (95 % interval +- {spread:.1%})"
    saved = measured["entities"] / measured["planned"]
    return [
        Row(
            "A/B tests of equal versions that find a difference", type_1, "planned: 5 %", f"{apart / tests / 0.05:.2f}"
        ),
        Row(
            "A/B tests that find a difference of the wanted size",
            f"{found} of {tests}, after {measured['entities']:,.0f} entities on average",
            f"planned: 80 %, at most {measured['planned']:,.0f} entities",
            f"{saved:.2f} of the entities",
        ),
    ]


def cadence(workspace: Workspace, seeds: int = 20) -> list[Row]:
    """Measure what following the recommended cadence costs, beside schedules, drift triggers and hindsight."""
    [environment] = environments.prepare(["cadence"]).values()
    measured = workspace.run(environment.python, "cadence", "cadence", seeds)
    rows = []
    for stream, policies in measured.items():
        ours, best = _mean(policies.pop("recommended")), _mean(policies.pop("hindsight"))
        beside = ", ".join(f"{name} {_mean(costs):,.0f}" for name, costs in policies.items())
        cost = f"{ours:,.0f}, with hindsight {best:,.0f}"
        rows.append(Row(f"cost of the recommended cadence: {stream}", cost, beside, f"{ours / best:.3f} of hindsight"))
    return rows


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def retrieval(workspace: Workspace, entities: int = 100_000) -> list[Row]:
    """Compare retrieval through Feast with a hand-written ASOF join of DuckDB."""
    [environment] = environments.prepare(["feature_retrieval"]).values()
    measured = workspace.run(environment.python, "retrieval", f"retrieval{entities}", entities)
    ours, theirs = measured["feast_s"], measured["asof_s"]
    what, beside = f"retrieval for {entities:,} entities", f"hand-written ASOF join of DuckDB: {shown(theirs, 2, 's')}"
    return [Row(what, shown(ours, 1, "s"), beside, ratio(ours, theirs))]


def tuning(workspace: Workspace) -> list[Row]:
    """Compare pruned searches with the same search without pruning."""
    [environment] = environments.prepare(["tuning"]).values()
    example = workspace.example
    measured = workspace.run(
        environment.python, "tuning", "tuning", example.outputs["bundle"], example.artifacts["split.splits"]
    )
    plain = measured.pop("none")
    return [
        Row(
            f"20 trials with {name} pruning",
            f"{shown(study['seconds'], 0, 's')}, {study['epochs']} epochs, best {study['best']:.4f}",
            f"unpruned: {shown(plain['seconds'], 0, 's')}, {plain['epochs']} epochs, best {plain['best']:.4f}",
            ratio(study["seconds"], plain["seconds"]),
        )
        for name, study in measured.items()
    ]


def throughput(workspace: Workspace) -> list[Row]:
    """Compare the model server's CPU time with that of bare servers, and KServe's, around the same model."""
    python, package = _serving(workspace)
    return [
        Row(
            f"{load.protocol}, {load.rows} row{'s' if load.rows > 1 else ''}, {load.connections} connections: "
            f"{load.server}",
            f"{load.cpu_us:.0f} us of CPU, {load.per_s:.0f} /s",
            f"{load.floor}: {load.floor_cpu_us:.0f} us",
            f"{load.share:.2f}",
        )
        for load in serving.measure(python, package)
    ]


def start(workspace: Workspace) -> list[Row]:
    """Compare how soon the model server is ready, and the memory that it takes then, with others."""
    measured = starting.measure(*_serving(workspace))
    ours = measured.pop(serving.LOGGED)
    rows = []
    for name, other in measured.items():
        seconds, mib = f"{name}: {other.ready_s:.2f} s", f"{name}: {other.rss_mib:.0f} MiB"
        rows += [
            Row("server ready", f"{ours.ready_s:.2f} s", seconds, f"{ours.ready_s / other.ready_s:.2f}"),
            Row("server's memory", f"{ours.rss_mib:.0f} MiB", mib, f"{ours.rss_mib / other.rss_mib:.2f}"),
        ]
    return rows


def waiting(workspace: Workspace) -> list[Row]:
    """Measure how long one row waits beside two clients that send 10,000 rows at once."""
    waited = beside.measure(*_serving(workspace))
    waits, alone = f"p99 {waited.beside_ms:.1f} ms", f"alone: {waited.alone_ms:.1f} ms"
    return [Row("one row beside requests of 10,000", waits, alone, f"{waited.beside_ms / waited.alone_ms:.1f}")]


def _serving(workspace: Workspace) -> tuple[Path, Path]:
    """Return the interpreter for the servers, and the example's model."""
    python = environments.virtualenv(TOOLS, environments.lock_of("serving"), name="bench")
    return python, Path(workspace.example.artifacts["training.model"])


_JOIN = "The join, with its checks, beside the join alone: the ratio is how many times as long ours takes."
_COUNTED = "Counts of simulated streams; the docs page of its subject has the last figures."
PARTS: Mapping[str, BenchPart] = {
    "orchestration": BenchPart(orchestration, "Seconds per task; below 1, ours is faster."),
    "first-run": BenchPart(first_run, "Median of three pairs; below 1, starting interpreters ahead pays.", long=True),
    "validation": BenchPart(
        validation,
        "polars describes columns; ours also checks a schema, duplicates, segments and drift, and writes a report.",
    ),
    "memory": BenchPart(
        memory, "Peak of a step's process; the ratio is that of the largest table to the smallest.", long=True
    ),
    "drift": BenchPart(drift, _COUNTED, long=True),
    "detection": BenchPart(detection, _COUNTED, long=True),
    "monitoring": BenchPart(monitoring, "The ratio is how many times as long ours takes.", long=True),
    "canary": BenchPart(canary, _COUNTED, long=True),
    "ab": BenchPart(ab, _COUNTED, long=True),
    "cadence": BenchPart(cadence, "Costs of the simulated stream; 1 is what hindsight would cost.", long=True),
    "retrieval": BenchPart(retrieval, _JOIN),
    "retrieval-1m": BenchPart(functools.partial(retrieval, entities=1_000_000), _JOIN, long=True),
    "tuning": BenchPart(tuning, "The same search; below 1, pruning saves time. The best loss should be no worse."),
    "serving": BenchPart(
        throughput,
        "The ratio is the floor's CPU time per request divided by the server's: more is better. Requests per second "
        "are those of one client on the same cores.",
    ),
    "start": BenchPart(start, "With the inference log on; below 1, ours is sooner or smaller."),
    "waiting": BenchPart(waiting, "The ratio is how many times as long a small request waits."),
}
"""Every part by its name, in the order of the table."""
