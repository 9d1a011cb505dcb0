"""Build the four Arrow tables: convert the state of the population to the values of the upstream systems."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.simulator.activity import Month
from pipelines.simulator.calendar import DAY, Floats, Ints, month_start
from pipelines.simulator.population import (
    AGE_GROUPS,
    CONTRACTS,
    DEVICES,
    GENDERS,
    NETWORKS,
    PAYMENTS,
    PLANS,
    REGIONS,
    Population,
    generator,
)
from pipelines.simulator.switches import Faults

TOPICS = ("billing", "network", "déménagement", "contract", "other")
CHANNELS = ("phone", "chat", "shop", "e-mail")
_TIME = pa.timestamp("us")


def customer_ids(slot: Ints, generation: Ints) -> pa.Array:
    """Return customer ids of the form ``C<slot>-<generation>``, twelve ASCII characters each.

    >>> customer_ids(np.array([12]), np.array([3])).to_pylist()
    ['C0000012-003']
    """
    text = np.empty((len(slot), 12), np.uint8)
    text[:, 0], text[:, 8] = ord("C"), ord("-")
    for position, power in enumerate(range(6, -1, -1), start=1):
        text[:, position] = slot // 10**power % 10 + ord("0")
    for position, power in enumerate(range(2, -1, -1), start=9):
        text[:, position] = generation // 10**power % 10 + ord("0")
    offsets = np.arange(0, 12 * len(slot) + 1, 12, dtype=np.int32)
    return pa.StringArray.from_buffers(len(slot), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _texts(values: tuple[str, ...], codes: Ints, is_known: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(values).take(pa.array(codes, mask=None if is_known is None else ~is_known))


def _numbers(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _times(values: Ints) -> pa.Array:
    return pa.array(values, _TIME)


def profiles(population: Population, slots: NDArray[np.bool_], month: int) -> pa.Table:
    """Return one row per customer in ``slots``: the new profile, and when it became known."""
    draws = generator(population.seed, "profile", population.block, month).random((population.size, 2)).T[:, slots]
    new = population.newcomers[slots]
    joined, codes = population.joined[slots], {name: codes[slots] for name, codes in population.codes.items()}
    valid = np.where(new, joined, month_start(month) + (draws[0] * 27 * DAY).astype(np.int64))
    return pa.table(
        {
            "customer_id": customer_ids(population.slot[slots], population.generation[slots]),
            "valid_from": _times(valid),
            "joined_at": _times(joined),
            "plan": _texts(PLANS, codes["plan"]),
            "contract": _texts(CONTRACTS, codes["contract"]),
            "monthly_fee": _numbers(np.round(population.fee[slots], 2)),
            "payment": _texts(PAYMENTS, codes["payment"]),
            "paperless": pa.array(population.paperless[slots]),
            "region": _texts(REGIONS, codes["region"]),
            "device": _texts(DEVICES, codes["device"], population.device_known[slots]),
            "age_group": _texts(AGE_GROUPS, codes["age"], population.age_known[slots]),
            "gender": _texts(GENDERS, codes["gender"]),
            "known_at": _times(valid + np.where(new, 0, draws[1] ** 4 * 5 * DAY).astype(np.int64)),
        }
    )


def usage(population: Population, month: Month, changed_schema: bool) -> pa.Table:
    """Return one row per customer for a month."""
    table = pa.table(
        {
            "customer_id": customer_ids(population.slot, population.generation),
            "month": _times(np.full(population.size, month_start(month.month))),
            "network": _texts(NETWORKS, population.codes["network"]),
            "data_gb": _numbers(month.data_gb),
            "minutes": _numbers(month.minutes),
            "overdue_days": _numbers(month.overdue_days),
            "known_at": _times(month.usage_known_at),
        }
    )
    if not changed_schema:
        return table
    table = table.rename_columns({"minutes": "voice_minutes"})
    return table.append_column("tariff_code", _texts(("T1", "T2", "T3", "T4"), population.codes["plan"]))


def contacts(population: Population, month: Month) -> pa.Table:
    """Return one row per contact with support in a month."""
    slots = np.repeat(np.arange(population.size), month.contacts)
    draws = generator(population.seed, "detail", population.block, month.month).random((len(slots), 6)).T
    at = month_start(month.month) + (draws[0] * 28 * DAY).astype(np.int64)
    at = np.maximum(at, population.joined[slots])
    # Contacts are recorded within a day, one in fifty only weeks later.
    delay_days = np.where(draws[1] < 0.02, 5 + 15 * draws[2], draws[2] * 0.8)
    mood = 4.2 - 0.9 * population.trouble[slots] + 2 * (draws[3] - 0.5)
    return pa.table(
        {
            "customer_id": customer_ids(population.slot[slots], population.generation[slots]),
            "contacted_at": _times(at),
            "topic": _texts(TOPICS, (draws[4] * len(TOPICS)).astype(np.int64)),
            "channel": _texts(CHANNELS, (draws[5] ** 1.5 * len(CHANNELS)).astype(np.int64)),
            "satisfaction": _numbers(np.where(draws[2] < 0.4, np.nan, np.clip(np.round(mood), 1, 5))),
            "known_at": _times(at + (delay_days * DAY).astype(np.int64)),
        }
    )


def labels(population: Population, month: Month, faults: Faults, end: int, delay_days: int) -> pa.Table:
    """Return one row per sampled customer (every third month each): did the customer leave within ``delay_days``?"""
    sampled = (population.slot + month.month) % 3 == 0
    if faults.active("label-shift", month.month):
        labelled = generator(population.seed, "label", population.block, month.month).random(population.size) < 1 / 3
        sampled &= month.leaves | labelled
    at = month_start(month.month) + ((population.billing_day[sampled] - 1) * DAY).astype(np.int64)
    known_at = at + delay_days * DAY
    return pa.table(
        {
            "customer_id": customer_ids(population.slot[sampled], population.generation[sampled]),
            "snapshot_at": _times(at),
            "churned": pa.array(month.leaves[sampled].astype(np.int64), mask=known_at > end),
            "known_at": _times(known_at),
        }
    )
