"""Simulate one month of one block of customers: usage, contacts, and who leaves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.simulator.calendar import DAY, Floats, Ints, month_start
from pipelines.simulator.population import Population, generator
from pipelines.simulator.switches import Faults


@dataclass(frozen=True)
class Month:
    """One month of one block; each array has one element per slot."""

    month: int
    leaves: NDArray[np.bool_]
    data_gb: Floats
    minutes: Floats
    overdue_days: Floats
    usage_known_at: Ints
    contacts: Ints
    """Number of contacts with support."""


def simulate_month(population: Population, month: int, faults: Faults) -> Month:
    """Simulate a month: decide who leaves, draw everyone's activity, and update the state of the population."""
    seed, block, n = population.seed, population.block, population.size
    uniform = generator(seed, "month", block, month).random((n, 7)).T
    normal = generator(seed, "noise", block, month).standard_normal((n, 4)).T
    leaves = uniform[0] < population.risk(month, faults)

    population.trouble = 0.8 * population.trouble + 0.6 * normal[0]
    season = 0.08 * np.cos(2 * np.pi * (month % 12) / 12)
    drift = np.log(2) * faults.drift(month)
    deviation = 0.35 * normal[1] - 0.15 * population.trouble
    log_usage = population.level + season + drift + deviation - 0.6 * leaves
    weight = -0.8 if faults.active("correlation-shift", month) else 0.8
    talk = weight * normal[1] + 0.6 * normal[2]

    data_gb = np.round(6 * np.exp(log_usage), 2)
    minutes = np.round(180 * np.exp(0.5 * talk + 0.1 * population.codes["age"]), 1)
    rate = 0.12 + 0.1 * (population.codes["payment"] == 2)
    overdue = np.where(uniform[1] < rate, np.ceil(-6 * np.log1p(-uniform[2])), 0.0)
    contacts = generator(seed, "contact", block, month).poisson(0.22 * np.exp(0.7 * population.trouble))

    population.usage = np.vstack([population.usage[1:], log_usage[None]])
    population.contacts = np.vstack([population.contacts[1:], contacts[None]])
    population.overdue = overdue

    if faults.active("broken-column", month):
        data_gb = data_gb * 1024
    missing = uniform[3] < 0.02
    if faults.active("segment-missing", month):
        missing = missing | (population.codes["network"] == 2)
    # Most usage becomes known within three days; one row in twenty takes up to three weeks.
    delay_days = np.where(uniform[4] < 0.05, 3 + 18 * uniform[5], 0.5 + 2.5 * uniform[5])
    return Month(
        month=month,
        leaves=leaves,
        data_gb=np.where(missing, np.nan, data_gb),
        minutes=minutes,
        overdue_days=np.where(uniform[6] < 0.01, np.nan, overdue),
        usage_known_at=month_start(month + 1) + (delay_days * DAY).astype(np.int64),
        contacts=contacts.astype(np.int64),
    )
