"""What can go wrong with the simulated business, and since when."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from components.shared.errors import InputError
from pipelines.simulator.calendar import month_number

SWITCHES = {
    "sudden-drift": "customers use twice the data, from one month to the next",
    "gradual-drift": "customers come to use twice the data over six months",
    "recurring-drift": "customers use twice the data for three months out of six",
    "concept-drift": "contract, fee and usage come to mean the opposite for churn; the inputs stay as they are",
    "label-shift": "two thirds of the labels of those who stay are not written; who leaves looks as before",
    "correlation-shift": "minutes fall where data rises; each column alone stays as it is",
    "broken-column": "the upstream delivers data_gb in megabytes",
    "segment-missing": "data_gb is missing for every customer on fibre, and for nobody else",
    "schema-change": "usage.minutes is called voice_minutes, and 'tariff_code' is new, in the whole of a period",
}


@dataclass(frozen=True)
class Switch:
    """One thing that goes wrong from a month on; None is the first month of the period that is written."""

    name: str
    since: date | None = None


@dataclass(frozen=True)
class Faults:
    """The switches of one run with their months filled in."""

    since: dict[str, int]

    def active(self, name: str, month: int) -> bool:
        """Tell whether a switch is on in a month."""
        return name in self.since and month >= self.since[name]

    def drift(self, month: int) -> float:
        """How far data usage has drifted, between 0 (not at all) and 1 (doubled)."""
        amount = float(self.active("sudden-drift", month))
        if self.active("gradual-drift", month):
            amount = max(amount, min(1.0, (month - self.since["gradual-drift"] + 1) / 6))
        if self.active("recurring-drift", month) and (month - self.since["recurring-drift"]) % 6 < 3:
            amount = 1.0
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
        raise InputError(f"There is no switch {name!r}; expected one of {sorted(SWITCHES)}.")
    if not month:
        return Switch(name)
    try:
        return Switch(name, date.fromisoformat(f"{month}-01"))
    except ValueError as error:
        raise InputError(f"The switch {text!r} has no month that can be read; write {name}@2025-03.") from error


def resolve(switches: Iterable[Switch], first_month: int) -> Faults:
    """Fill in the months of switches that name none."""
    since = {s.name: first_month if s.since is None else month_number(s.since) for s in switches}
    unknown = sorted(set(since) - set(SWITCHES))
    if unknown:
        raise InputError(f"There is no switch {unknown[0]!r}; expected one of {sorted(SWITCHES)}.")
    return Faults(since)
