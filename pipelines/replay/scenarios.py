"""What may happen to the business in a replay."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from components.shared.errors import InputError
from pipelines.simulator.switches import Switch


@dataclass(frozen=True)
class Scenario:
    """One course of events.

    Attributes:
        switch: The fault of the simulator that begins; None if nothing does.
        costly: Whether a model that is never retrained loses by it.
    """

    switch: str | None
    costly: bool

    def switches(self, since: date) -> tuple[Switch, ...]:
        """Return the faults of the simulator, from a month on."""
        return () if self.switch is None else (Switch(self.switch, since),)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "none": Scenario(None, costly=False),
        "sudden": Scenario("concept-drift", costly=True),
        "covariate": Scenario("sudden-drift", costly=False),
        "gradual-covariate": Scenario("gradual-drift", costly=False),
        "upstream": Scenario("broken-column", costly=True),
        "label-shift": Scenario("label-shift", costly=False),
    }
)
"""Every scenario by its name."""


def scenario(name: str) -> Scenario:
    """Return a scenario.

    Raises:
        InputError: If there is none of this name.
    """
    if name not in SCENARIOS:
        raise InputError(f"there is no scenario {name!r}; expected one of {sorted(SCENARIOS)}.")
    return SCENARIOS[name]
