"""Flights from New York in 2013 get the weather that was known at their time, as a brute-force join finds it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

from components.shared.features import asof_store

TTL = pd.Timedelta(hours=2)
DELAY = pd.Timedelta(minutes=50)
"""What the weather service needs to publish an observation; every seventh observation arrives three hours late."""
LATE = pd.Timedelta(hours=3)
FLIGHTS = 20_000


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return flights (origin, event_timestamp, number) and weather (origin, observed, created, temp, wind_speed)."""
    folder = Path(os.environ.get("PERENNIAL_NYCFLIGHTS", ""))
    if not (folder / "weather.csv").is_file() or not (folder / "flights.csv.zip").is_file():
        pytest.skip("PERENNIAL_NYCFLIGHTS names no folder with weather.csv and flights.csv.zip")
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=["origin", "time_hour", "minute"])
    flights["event_timestamp"] = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(
        flights["minute"], unit="min"
    )
    flights = flights[["origin", "event_timestamp"]].sample(FLIGHTS, random_state=7).reset_index(drop=True)
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", "temp", "wind_speed"])
    weather = weather.drop_duplicates(["origin", "time_hour"], ignore_index=True)
    weather["observed"] = pd.to_datetime(weather.pop("time_hour"), utc=True)
    late = np.where(np.arange(len(weather)) % 7 == 0, LATE, DELAY)
    return flights.assign(number=range(FLIGHTS)), weather.assign(created=weather["observed"] + pd.to_timedelta(late))


def _moments(times: pd.Series) -> np.ndarray:
    return times.to_numpy("datetime64[us]")


def brute_force(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Pair every flight with every observation of its airport that may count, and keep the newest."""
    pairs = []
    for origin, observations in weather.groupby("origin"):
        departures = flights[flights["origin"] == origin]
        at, moment = _moments(departures["event_timestamp"]), _moments(observations["observed"])
        order = np.argsort(moment, kind="stable")
        moment, created = moment[order], _moments(observations["created"])[order]
        for number, time in zip(departures["number"], at, strict=True):
            counts = (moment <= time) & (created <= time) & (moment + TTL.to_timedelta64() >= time)
            if counts.any():
                pairs.append((number, observations.index[order[np.flatnonzero(counts)[-1]]]))
    chosen = pd.DataFrame(pairs, columns=["number", "row"]).merge(weather, left_on="row", right_index=True)
    return flights[["number"]].merge(chosen[["number", "temp", "wind_speed"]], on="number", how="left")


def test_each_flight_has_the_newest_weather_that_was_known_at_its_time(tables, tmp_path: Path):
    flights, weather = tables
    weather.to_parquet(tmp_path / "weather.parquet", coerce_timestamps="us")
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    source = FileSource(
        path=str(tmp_path / "weather.parquet"), timestamp_field="observed", created_timestamp_column="created"
    )
    features = [Field(name="temp", dtype=Float64), Field(name="wind_speed", dtype=Float64)]
    view = FeatureView(
        name="weather", entities=[origin], ttl=TTL.to_pytimedelta(), schema=features, source=source, online=False
    )
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(tmp_path / "registry.db"),
        offline_store={"type": f"{asof_store.__name__}.AsofOfflineStore"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([origin, view])

    joined = store.get_historical_features(
        flights, ["weather:temp", "weather:wind_speed"], filter_by_created_timestamp=True
    ).to_df()

    expected = brute_force(flights, weather)
    joined = joined.sort_values("number")[["number", "temp", "wind_speed"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(expected, joined, check_dtype=False)
    # A part of the flights, but not all, departs when no observation counts.
    assert 0 < expected["temp"].isna().mean() < 0.9
