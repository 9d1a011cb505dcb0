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
        switch: The switch of the simulator that is turned on; None if there is none.
        costly: Whether a model that is never retrained loses by it.
        always: Whether the switch is on from the beginning of all tables, so that nothing changes.
        persuaded: Share of the customers about to leave who stay if the model's decision is to act on them.
    """

    switch: str | None
    costly: bool = False
    always: bool = False
    persuaded: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether anything is different from some day on."""
        return self.persuaded > 0 or (self.switch is not None and not self.always)

    def switches(self, since: date) -> tuple[Switch, ...]:
        """Return the switches of the simulator, those that change something from a month on."""
        if self.switch is None:
            return ()
        return (Switch(self.switch, None if self.always else since),)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "none": Scenario(None),
        "season": Scenario("season", always=True),
        "sudden": Scenario("concept-drift", costly=True),
        "gradual": Scenario("gradual-concept-drift", costly=True),
        "recurring": Scenario("recurring-concept-drift", costly=True),
        "segment": Scenario("segment-concept-drift", costly=True),
        "covariate": Scenario("sudden-drift"),
        "gradual-covariate": Scenario("gradual-drift"),
        "upstream": Scenario("broken-column", costly=True),
        "label-shift": Scenario("label-shift"),
        "treatment": Scenario(None, persuaded=0.6),
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
