"""What a run is expected to cost: the machines of its steps, times how long they took in earlier runs, times prices."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from components.shared.errors import InputError
from components.shared.project import Section
from pipelines import runs
from pipelines.project import typed_yaml

SHIPPED = Path(__file__).with_name("prices.yaml")
_RUNS = 10
"""Earlier runs that are looked at."""


class Machine(Section):
    """One type of machine."""

    name: str = Field(description="Its name at Google.")
    cpus: float = Field(gt=0, description="Its CPUs.")
    memory_gb: float = Field(gt=0, description="Its memory, in GB.")
    hour: float = Field(ge=0, description="What an hour costs.")


class Prices(Section):
    """A price file."""

    currency: str = Field(description="What the numbers are in.")
    run: float = Field(ge=0, description="What each run costs, whatever it does.")
    default: str = Field(description="The machine of a step that asks for nothing.")
    machines: tuple[Machine, ...] = Field(min_length=1, description="The types of machines.")
    accelerators: dict[str, float] = Field(default_factory=dict, description="What an hour of each accelerator costs.")


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to cost."""

    cost: float
    """Of the steps whose time is known, and of the run itself."""
    machine_s: float
    """Seconds that those steps take."""
    unknown: tuple[str, ...]
    """Steps that no earlier run tells of, or whose machine has no price."""
    hours: Mapping[str, float]
    """Machine of the steps -> what an hour costs."""
    currency: str

    def __str__(self) -> str:
        hourly = ", ".join(f"{name} {price:.2f}" for name, price in sorted(self.hours.items()))
        rates = f"an hour costs {self.currency}: {hourly}"
        if not self.machine_s:
            return f"no estimate of the cost: no earlier run tells how long the steps take; {rates}"
        without = f", without {', '.join(self.unknown)}" if self.unknown else ""
        return (
            f"estimated cost {self.cost:.2f} {self.currency}: {self.machine_s / 60:.0f} minutes of machines, as in "
            f"earlier runs{without}; {rates}"
        )


def read(path: Path) -> Prices:
    """Read a price file.

    Raises:
        InputError: If there is none, or it is not valid.
    """
    if not path.is_file():
        raise InputError(
            f"the price file {path} does not exist; copy {SHIPPED.name} of the vertex target there, or "
            "correct 'prices'."
        )
    return typed_yaml.parse(path.name, typed_yaml.load(path), Prices)


def seconds(records: Iterable[runs.Run], pipeline: str) -> dict[str, float]:
    """Return how long each step durations, as the median of earlier runs, without what came from the cache.

    Args:
        records: Of runs at this server, the newest first.
        pipeline: Whose runs count.
    """
    durations: dict[str, list[float]] = {}
    earlier = [run for run in records if run.pipeline == pipeline and run.exit_code is not None]
    for run in earlier[:_RUNS]:
        for step in run.steps:
            if step.state == "done" and step.seconds:
                durations.setdefault(step.name, []).append(step.seconds)
    return {step: statistics.median(times) for step, times in durations.items()}


def estimate(ir: Mapping[str, Any], durations: Mapping[str, float], prices: Prices) -> Estimate:
    """Estimate what a run costs.

    Args:
        ir: The compiled pipeline.
        durations: Step -> seconds.
        prices: The price file.
    """
    cost, total, unknown, hours = prices.run, 0.0, [], {}
    for label, executor in sorted(ir["deploymentSpec"]["executors"].items()):
        if "container" not in executor:
            continue
        step = label.removeprefix("exec-").replace("-", "_")
        machine, price = _hourly(executor["container"].get("resources", {}), prices)
        if price is None:
            unknown.append(step)
            continue
        hours[machine] = price
        if step in durations:
            total += durations[step]
            cost += durations[step] / 3600 * price
        else:
            unknown.append(step)
    return Estimate(cost, total, tuple(unknown), hours, prices.currency)


def _hourly(resources: Mapping[str, Any], prices: Prices) -> tuple[str, float | None]:
    """Return the machine that holds what a step asks for, and what an hour costs; None if the prices do not say."""
    cpus, memory = resources.get("cpuLimit", 0.0), resources.get("memoryLimit", 0.0)
    fitting = [m for m in prices.machines if m.cpus >= cpus and m.memory_gb >= memory]
    if not cpus and not memory:
        fitting = [m for m in fitting if m.name == prices.default]
    if not fitting:
        return "", None
    machine = min(fitting, key=lambda m: m.hour)
    accelerator = resources.get("accelerator")
    if not accelerator:
        return machine.name, machine.hour
    kind, count = accelerator["type"], int(accelerator.get("count", 1))
    if kind not in prices.accelerators:
        return "", None
    return f"{machine.name} with {count} {kind}", machine.hour + count * prices.accelerators[kind]
