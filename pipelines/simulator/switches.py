"""Faults that can be switched on in the simulated business, from a given month on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from components.shared.errors import InputError
from pipelines.simulator.calendar import month_number

SWITCHES = {
    "sudden-drift": "customers use twice the data, from one month to the next",
    "gradual-drift": "customers use more data each month, twice as much after six months",
    "recurring-drift": "customers use twice the data for three months out of six",
    "season": "customers use half as much again in June, July and August, as every year",
    "concept-drift": "contract, fee and usage have the opposite effect on churn; the inputs do not change",
    "gradual-concept-drift": "the same effects turn round over four months",
    "recurring-concept-drift": "the same effects are turned round for three months out of six",
    "segment-concept-drift": "the same effects are turned round for every customer on fibre, and for no other",
    "label-shift": "two thirds of the labels of customers who stay are missing; customers who leave look the same",
    "correlation-shift": "minutes are negatively correlated with data; the distribution of each column does not change",
    "broken-column": "data_gb is delivered in megabytes",
    "segment-missing": "data_gb is missing for every customer on fibre, and for no other",
    "schema-change": "usage.minutes is renamed to voice_minutes, and 'tariff_code' is added, in the whole period",
}

_SUMMER = (5, 6, 7)
"""June to August, counted from January as 0 like the months since the origin."""
_SEASON = 0.585
"""Half as much again, as a share of doubling: the binary logarithm of 1.5."""


@dataclass(frozen=True)
class Switch:
    """A fault and the month in which it starts; None is the first month of the generated period."""

    name: str
    since: date | None = None


@dataclass(frozen=True)
class Faults:
    """The switches of one run, each with its first month."""

    since: dict[str, int]

    def active(self, name: str, month: int) -> bool:
        """Return whether a switch is on in a month."""
        return name in self.since and month >= self.since[name]

    def turned(self, month: int) -> float:
        """Return how far the effects of contract, fee and usage have turned round: from 0 (not at all) to 1."""
        amount = float(self.active("concept-drift", month))
        if self.active("gradual-concept-drift", month):
            amount = max(amount, min(1.0, (month - self.since["gradual-concept-drift"] + 1) / 4))
        if self.active("recurring-concept-drift", month) and (month - self.since["recurring-concept-drift"]) % 6 < 3:
            amount = 1.0
        return amount

    def drift(self, month: int) -> float:
        """Return how far data usage has drifted: from 0 (no drift) to 1 (doubled)."""
        amount = float(self.active("sudden-drift", month))
        if self.active("gradual-drift", month):
            amount = max(amount, min(1.0, (month - self.since["gradual-drift"] + 1) / 6))
        if self.active("recurring-drift", month) and (month - self.since["recurring-drift"]) % 6 < 3:
            amount = 1.0
        if self.active("season", month) and month % 12 in _SUMMER:
            amount = max(amount, _SEASON)
        return amount


def parse_switch(text: str) -> Switch:
    """Read ``name`` or ``name@YYYY-MM``.

    Raises:
        InputError: If the name or the month is unknown.

    >>> parse_switch("concept-drift@2025-03")
    Switch(name='concept-drift', since=datetime.date(2025, 3, 1))
    """
    name, _, month = text.partition("@")
    if name not in SWITCHES:
        raise InputError(f"unknown switch {name!r}; expected one of {sorted(SWITCHES)}.")
    if not month:
        return Switch(name)
    try:
        return Switch(name, date.fromisoformat(f"{month}-01"))
    except ValueError as error:
        raise InputError(
            f"the switch {text!r} has an invalid month; expected a month such as {name}@2025-03."
        ) from error


def resolve(switches: Iterable[Switch], first_month: int) -> Faults:
    """Set the first month of switches that have none to the first month of the period."""
    since = {switch.name: first_month if switch.since is None else month_number(switch.since) for switch in switches}
    unknown = sorted(set(since) - set(SWITCHES))
    if unknown:
        raise InputError(f"unknown switch {unknown[0]!r}; expected one of {sorted(SWITCHES)}.")
    return Faults(since)
