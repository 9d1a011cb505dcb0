"""Who the customers are, month by month: the part of the simulation that has a memory.

A place in the population is held by one customer after another: who leaves is followed by somebody new in the next
month, with the same plan, contract, payment and region. So neither their number nor the mix of the business changes
by itself. Every draw comes from a generator keyed by seed, purpose, block
and month. Therefore any period can be written without the draws of another, and the first thousand customers
are the same whether there are a thousand or a million.
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
"""Share of customers whose attribute changes in a month."""

_KEPT = ("plan", "contract", "payment", "region")
"""What a newcomer has in common with the customer who held the place before."""


def generator(seed: int, purpose: str, block: int, month: int) -> np.random.Generator:
    """Give the random numbers of one purpose in one block and month; the same whatever else is simulated."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *purpose.encode(), block, month + 1])))


def _pick(uniform: Floats, name: str) -> Ints:
    """Turn uniform draws into the codes of an attribute."""
    return np.searchsorted(np.cumsum(_SHARES[name])[:-1], uniform, side="right").astype(np.int64)


@dataclass
class Population:
    """The state of one block of places at the start of a month."""

    seed: int
    block: int
    first: int
    size: int

    def __post_init__(self) -> None:
        """Fill the block with customers who joined up to five years before the origin."""
        n = self.size
        self.place = self.first + np.arange(n)
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

    def _settle(self, who: NDArray[np.bool_], month: int) -> None:
        """Give the chosen places a new customer each."""
        draws = generator(self.seed, "settle", self.block, month).random((self.size, len(_SHARES) + 4)).T
        normal = generator(self.seed, "temper", self.block, month).standard_normal((self.size, 2)).T
        for row, name in enumerate(_SHARES):
            if name not in _KEPT or month < 0:
                self.codes[name][who] = _pick(draws[row][who], name)
        spare = draws[len(_SHARES) :, who]
        plan, young = self.codes["plan"][who], self.codes["age"][who] == 0
        self.paperless[who] = spare[0] < 0.6
        self.age_known[who] = spare[1] < 0.97
        self.device_known[who] = spare[2] < 0.95
        self.fee[who] = _FEES[plan] * (0.8 + 0.4 * spare[3])
        self.level[who] = 0.5 * normal[0][who] + 0.2 * plan + 0.4 * young
        self.trouble[who] = normal[1][who]
        self.usage[:, who] = np.nan
        self.contacts[:, who] = 0
        self.overdue[who] = 0

    def replace(self, left: NDArray[np.bool_], month: int) -> None:
        """Let new customers take the places of those who left, in the days before the place's billing day."""
        self.generation += left
        wait = generator(self.seed, "wait", self.block, month).random(self.size) * (self.billing_day - 1) * DAY
        self.joined = np.where(left, month_start(month) + wait.astype(np.int64), self.joined)
        self._settle(left, month)
        self.newcomers = left

    def change(self, month: int) -> NDArray[np.bool_]:
        """Let profiles change a little; True for those that did."""
        source = generator(self.seed, "change", self.block, month)
        draws = source.random((self.size, 2 * len(_CHANGES) + 1)).T
        changed = np.zeros(self.size, bool)
        for row, (name, share) in enumerate(_CHANGES.items()):
            chosen = np.flatnonzero((draws[2 * row] < share) & ~self.newcomers)
            value = _pick(draws[2 * row + 1][chosen], name)
            moves = chosen[value != self.codes[name][chosen]]
            self.codes[name][chosen] = value
            if name == "plan":
                self.fee[moves] = _FEES[self.codes["plan"][moves]] * (0.8 + 0.4 * draws[-1][moves])
            changed[moves] = True
        return changed

    def risk(self, month: int, faults: Faults) -> Floats:
        """Probability to leave within the 30 days after this month's billing day, from what can be observed."""
        tenure = np.maximum(0, month_start(month) - self.joined) / (30.4 * DAY)
        earlier = self.usage[:3]
        seen = ~np.isnan(earlier)
        mean = np.where(seen, earlier, 0).sum(axis=0) / np.maximum(1, seen.sum(axis=0))
        known = seen.any(axis=0) & ~np.isnan(self.usage[3])
        change = np.where(known, np.clip(np.nan_to_num(self.usage[3]) - mean, -1.5, 1.5), 0)
        turn = -1.0 if faults.active("concept-drift", month) else 1.0
        age, payment = self.codes["age"], self.codes["payment"]
        logit = (
            -4.05
            + turn * np.array([1.0, -0.5, -1.6])[self.codes["contract"]]
            + turn * 0.035 * (self.fee - 30)
            - turn * 1.7 * change
            + 1.1 * np.exp(-tenure / 6)
            + 0.5 * np.minimum(self.contacts.sum(axis=0), 5)
            + 0.09 * np.minimum(self.overdue, 15)
            + 0.4 * (payment == 2)
            - 0.5 * (age == 3)
            + 0.5 * ((age == 0) & (self.codes["contract"] == 0))
            + np.linspace(-0.4, 0.4, len(REGIONS))[self.codes["region"]]
        )
        # One slice that no model can read: these customers leave by chance.
        odd = (self.codes["region"] == 1) & (self.codes["plan"] == 0)
        return np.where(odd, 0.09, 1 / (1 + np.exp(-logit)))
