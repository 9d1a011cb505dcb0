"""The state of the simulation: who the customers are, month by month.

The population consists of slots. When a customer leaves, a new one with the same plan, contract, payment and region
takes the slot in the next month, so that neither the number of customers nor their mix changes by itself.

Every random draw comes from a generator keyed by seed, purpose, block and month. Any period can therefore be generated
on its own, and the first thousand customers are the same whether there are a thousand or a million.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.simulator.calendar import DAY, Floats, Ints, month_start
from pipelines.simulator.switches import Faults

PLANS = ("Basic", "Plus", "Família", "Premium")
CONTRACTS = ("monthly", "yearly", "two years")
REGIONS = ("Île-de-France", "Łódź", "Zürich", "København", "São Miguel", "Kraków", "Bremen", "Utrecht", "Ghent", "Wien")
PAYMENTS = ("card", "direct debit", "invoice", "wallet")
DEVICES = tuple(f"{maker} {model}" for maker in ("Aurora", "Borealis", "Cirrus", "Ñandú") for model in range(1, 7))
AGE_GROUPS = ("18-29", "30-44", "45-59", "60+")
GENDERS = ("female", "male", "other")
NETWORKS = ("4G", "5G", "fibre")

_FEES = np.array([15.0, 28.0, 42.0, 55.0])
_SHARES = {
    "plan": (0.35, 0.35, 0.15, 0.15),
    "contract": (0.55, 0.3, 0.15),
    "region": (0.18, 0.14, 0.12, 0.11, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05),
    "payment": (0.4, 0.3, 0.2, 0.1),
    "device": tuple(1 / len(DEVICES) for _ in DEVICES),
    "age": (0.27, 0.31, 0.25, 0.17),
    "gender": (0.49, 0.48, 0.03),
    "network": (0.35, 0.4, 0.25),
}
_CHANGES = {"plan": 0.02, "payment": 0.015, "device": 0.02, "region": 0.004, "contract": 0.012}
"""Share of customers whose attribute changes per month."""

_INHERITED = ("plan", "contract", "payment", "region")
"""Attributes that a new customer shares with the previous customer of the slot."""


def generator(seed: int, purpose: str, block: int, month: int) -> np.random.Generator:
    """Return the random generator of one purpose, block and month; it is independent of all other draws."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *purpose.encode(), block, month + 1])))


def _pick(uniform: Floats, name: str) -> Ints:
    """Convert uniform draws to the codes of an attribute."""
    return np.searchsorted(np.cumsum(_SHARES[name])[:-1], uniform, side="right").astype(np.int64)


@dataclass
class Population:
    """The state of one block of slots at the start of a month."""

    seed: int
    block: int
    first: int
    size: int

    def __post_init__(self) -> None:
        """Fill the block with customers who joined up to five years before the origin."""
        n = self.size
        self.slot = self.first + np.arange(n)
        self.generation = np.zeros(n, np.int64)
        self.joined = np.zeros(n, np.int64)
        self.fee = np.zeros(n)
        self.level = np.zeros(n)
        self.trouble = np.zeros(n)
        self.paperless = np.zeros(n, bool)
        self.codes = {name: np.zeros(n, np.int64) for name in _SHARES}
        self.age_known = np.zeros(n, bool)
        self.device_known = np.zeros(n, bool)
        self.usage = np.full((4, n), np.nan)
        self.contacts = np.zeros((3, n))
        self.overdue = np.zeros(n)
        draws = generator(self.seed, "place", self.block, -1).random((n, 3)).T
        self.billing_day = 1 + (draws[0] * 28)
        self._settle(np.ones(n, bool), -1)
        self.joined = month_start(0) - (draws[1] ** 2 * 60 * 30 * DAY).astype(np.int64)
        self.newcomers = np.ones(n, bool)

    def _settle(self, slots: NDArray[np.bool_], month: int) -> None:
        """Put a new customer into each selected slot."""
        draws = generator(self.seed, "settle", self.block, month).random((self.size, len(_SHARES) + 4)).T
        normal = generator(self.seed, "temper", self.block, month).standard_normal((self.size, 2)).T
        for row, name in enumerate(_SHARES):
            if name not in _INHERITED or month < 0:
                self.codes[name][slots] = _pick(draws[row][slots], name)
        spare = draws[len(_SHARES) :, slots]
        plan, young = self.codes["plan"][slots], self.codes["age"][slots] == 0
        self.paperless[slots] = spare[0] < 0.6
        self.age_known[slots] = spare[1] < 0.97
        self.device_known[slots] = spare[2] < 0.95
        self.fee[slots] = _FEES[plan] * (0.8 + 0.4 * spare[3])
        self.level[slots] = 0.5 * normal[0][slots] + 0.2 * plan + 0.4 * young
        self.trouble[slots] = normal[1][slots]
        self.usage[:, slots] = np.nan
        self.contacts[:, slots] = 0
        self.overdue[slots] = 0

    def replace(self, left: NDArray[np.bool_], month: int) -> None:
        """Replace the customers who left; the new ones join before the slot's billing day."""
        self.generation += left
        delay = generator(self.seed, "wait", self.block, month).random(self.size) * (self.billing_day - 1) * DAY
        self.joined = np.where(left, month_start(month) + delay.astype(np.int64), self.joined)
        self._settle(left, month)
        self.newcomers = left

    def change(self, month: int) -> NDArray[np.bool_]:
        """Change the profiles of a few customers; return True for each changed slot."""
        source = generator(self.seed, "change", self.block, month)
        draws = source.random((self.size, 2 * len(_CHANGES) + 1)).T
        changed = np.zeros(self.size, bool)
        for row, (name, share) in enumerate(_CHANGES.items()):
            selected = np.flatnonzero((draws[2 * row] < share) & ~self.newcomers)
            value = _pick(draws[2 * row + 1][selected], name)
            changes = selected[value != self.codes[name][selected]]
            self.codes[name][selected] = value
            if name == "plan":
                self.fee[changes] = _FEES[self.codes["plan"][changes]] * (0.8 + 0.4 * draws[-1][changes])
            changed[changes] = True
        return changed

    def risk(self, month: int, faults: Faults) -> Floats:
        """Return the probability to leave within 30 days after this month's billing day, from observable attributes."""
        tenure = np.maximum(0, month_start(month) - self.joined) / (30.4 * DAY)
        earlier = self.usage[:3]
        observed = ~np.isnan(earlier)
        mean = np.where(observed, earlier, 0).sum(axis=0) / np.maximum(1, observed.sum(axis=0))
        is_known = observed.any(axis=0) & ~np.isnan(self.usage[3])
        change = np.where(is_known, np.clip(np.nan_to_num(self.usage[3]) - mean, -1.5, 1.5), 0)
        sign = np.full(self.size, 1 - 2 * faults.turned(month))
        if faults.active("segment-concept-drift", month):
            sign[self.codes["network"] == 2] = -1.0
        age, payment = self.codes["age"], self.codes["payment"]
        logit = (
            -4.05
            + sign * np.array([1.0, -0.5, -1.6])[self.codes["contract"]]
            + sign * 0.035 * (self.fee - 30)
            - sign * 1.7 * change
            + 1.1 * np.exp(-tenure / 6)
            + 0.5 * np.minimum(self.contacts.sum(axis=0), 5)
            + 0.09 * np.minimum(self.overdue, 15)
            + 0.4 * (payment == 2)
            - 0.5 * (age == 3)
            + 0.5 * ((age == 0) & (self.codes["contract"] == 0))
            + np.linspace(-0.4, 0.4, len(REGIONS))[self.codes["region"]]
        )
        # In one slice, customers leave at random, so no model can predict them.
        is_random = (self.codes["region"] == 1) & (self.codes["plan"] == 0)
        return np.where(is_random, 0.09, 1 / (1 + np.exp(-logit)))
