"""A small project whose offline answers a careful person could write down, and a log of requests about it."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.documents.skew import FeatureSkew, SkewReport
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from components.skew_audit import logic
from tests.components import made_log
from tests.components.feature_retrieval.tiny_project import Tiny, View, day

FEATURES = ("usage", "amount", "visits", "balance")
Values = dict[str, float | None]


@dataclass(frozen=True)
class Reading:
    """One row of the tables: true from ``moment`` on, known from ``created`` on."""

    who: str
    moment: datetime
    created: datetime
    usage: float
    amount: float | None


@dataclass
class Business:
    """Meters that are read every ten hours or so, some of them known a day late; visits of half of the people.

    ``balance`` is valid for two days only, and a person may not have paid in for longer.
    """

    seed: int = 3
    readings: list[Reading] = field(default_factory=list)
    visits: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict)
    balances: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dice = random.Random(self.seed)
        for number in range(30):
            who, moment = f"e{number}", day(1)
            self.balances[who] = [(day(1 + start), round(dice.uniform(1, 99), 2)) for start in range(0, 40, 4)]
            if number % 2:
                self.visits[who] = [(day(1 + 3 * step), dice.randrange(1, 90)) for step in range(14)]
            while moment < day(40):
                late = timedelta(days=dice.choice([0, 0, 0, 1.3]))
                amount = None if dice.random() < 0.1 else round(dice.uniform(1, 500), 2)
                self.readings.append(Reading(who, moment, moment + late, dice.uniform(0, 10), amount))
                moment += timedelta(hours=dice.uniform(4, 16))

    def values(self, who: str, at: datetime, *, late_rows: bool = False, expires: bool = True) -> Values:
        """Return what is known of somebody at a moment, slowly and by hand."""
        usable = [
            reading
            for reading in self.readings
            if reading.who == who and reading.moment <= at and (late_rows or reading.created <= at)
        ]
        newest = max(usable, key=lambda reading: reading.moment, default=None)
        visits = [count for moment, count in self.visits.get(who, ()) if moment <= at]
        paid = [(moment, sum_) for moment, sum_ in self.balances.get(who, ()) if moment <= at]
        alive = bool(paid) and (not expires or paid[-1][0] + timedelta(days=2) >= at)
        return {
            "usage": newest.usage if newest else None,
            "amount": newest.amount if newest else None,
            "visits": float(visits[-1]) if visits else None,
            "balance": paid[-1][1] if alive else None,
        }

    def project(self, root: Path) -> Tiny:
        """Return the project with these tables."""
        tables = {
            "examples": _table([{"who": "e0", "moment": day(60), "label": 0}]),
            "readings": _table([vars(reading) for reading in self.readings]),
            "visits": _table(
                [{"who": w, "moment": at, "visits": n} for w, rows in self.visits.items() for at, n in rows]
            ),
            "balances": _table(
                [{"who": w, "moment": at, "balance": v} for w, rows in self.balances.items() for at, v in rows]
            ),
        }
        views = [
            View("readings", "SELECT * FROM readings", ["usage", "amount"], created="created"),
            View("visits", "SELECT * FROM visits", ["visits"]),
            View("balances", "SELECT * FROM balances", ["balance"], ttl_days=2),
        ]
        return Tiny(root, tables, views)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


@dataclass(frozen=True)
class Ask:
    """A request about somebody at a moment, with the features that the caller sent."""

    who: str | None
    at: datetime
    values: Values
    ahead: timedelta = timedelta(0)
    """By how much the event time that the caller sent is ahead of the request."""


def asks(business: Business, answer: Callable[[str, datetime], Values] | None = None, count: int = 600) -> list[Ask]:
    """Return requests at random moments; ``answer`` says what is sent, by default what is known."""
    dice, answer = random.Random(8), answer or business.values
    moments = [(f"e{dice.randrange(30)}", day(1) + timedelta(days=dice.uniform(0, 38))) for _ in range(count)]
    return [Ask(who, at, answer(who, at)) for who, at in moments]


def write(log: Path, requests: Iterable[Ask], release: str = "1", features: tuple[str, ...] = FEATURES) -> None:
    """Log requests as the server does."""
    header = SegmentHeader("tiny", release, tuple(LoggedFeature(name, "numeric") for name in features), ("usage",))
    lines = []
    for number, ask in enumerate(requests):
        received = {name: [ask.values[name]] for name in features}
        line = made_log.request(f"r{release}-{number}", 0, received=received)
        line["at_ns"] = _us(ask.at) * 1000
        if ask.ahead:
            line["event_time_us"] = _us(ask.at + ask.ahead)
        lines.append(line if ask.who is None else line | {"entity": [ask.who]})
    made_log.write(log, lines, header, sequence=int(release))


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def audit(root: Path, tiny: Tiny, start: str = "", end: str = "", most_rows: int = 0) -> SkewReport:
    """Run the step on the log in ``root / "log"``."""
    span = logic.Span.parse(start, end)
    return logic.audit(str(tiny.bundle()), tiny.snapshot(), str(root / "log"), span, most_rows, root / "report")


def of(report: SkewReport, name: str) -> FeatureSkew:
    """Return the comparison of one feature."""
    return next(feature for feature in report.features if feature.feature == name)
