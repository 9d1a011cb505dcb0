"""The search space of the project file: check it before the first trial, and draw values from it."""

import difflib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.shared.errors import InputError
from components.shared.project import TUNABLE, Choice, Range, Training, Tuning

_WHOLE = ("bins", "embedding", "batch_size", "leaves", "min_rows")
Space = Mapping[str, Range | Choice]


def check(tuning: Tuning, training: Training) -> None:
    """Check that every point of the search space of every family is valid.

    Raises:
        InputError: If one is not; the message names the hyperparameter and the valid values.
    """
    for family in TUNABLE:
        _check_family(family, tuning, training)
    searched = [family for family in TUNABLE if family in training.families]
    if tuning.trials and searched and not any(tuning.space_of(family) for family in searched):
        raise InputError(
            f"'tuning' has {tuning.trials} trials and an empty search space; "
            "add hyperparameters to 'space', or set 'trials: 0' to use the values of 'training'."
        )


def _check_family(family: str, tuning: Tuning, training: Training) -> None:
    for name, values in tuning.space_of(family).items():
        if name not in TUNABLE[family]:
            similar = difflib.get_close_matches(name, TUNABLE[family], 1, 0.0)[0]
            raise InputError(
                f"the search space has an unknown hyperparameter '{name}' of the {family}; "
                f"did you mean '{similar}'? Expected one of {', '.join(TUNABLE[family])}."
            )
        if isinstance(values, Range):
            # A grid over the trees needs steps only where the trees are searched.
            _check_range(name, values, grid=tuning.sampler == "grid" and family in training.families)
        for value in values.choices if isinstance(values, Choice) else (values.low, values.high):
            value = int(value) if isinstance(values, Range) and values.integer else value
            _check_value(family, name, value, training)


def _check_range(name: str, values: Range, *, grid: bool) -> None:
    owner = f"the search space of '{name}'"
    if values.low > values.high:
        raise InputError(f"{owner} has 'low' {values.low} and 'high' {values.high}; 'low' must not exceed 'high'.")
    if values.log and values.low <= 0:
        raise InputError(f"{owner} has 'low' {values.low}; with 'log: true' it must be above 0.")
    if values.log and values.step is not None:
        raise InputError(f"{owner} has both 'log' and 'step'; remove one of them, or list the values as 'choices'.")
    if name == "hidden":
        raise InputError(f"{owner} is a range; expected choices, for example ['none', '32', '64,32'].")
    if name in _WHOLE and not values.integer:
        raise InputError(f"{owner} must have integer values; add 'integer: true'.")
    if values.integer and (values.step or 1) % 1:
        raise InputError(f"{owner} has 'step' {values.step}; with 'integer: true' it must be an integer.")
    if grid and values.step is None:
        raise InputError(
            f"{owner} is a range without 'step', which the grid sampler requires; add 'step' or list 'choices'."
        )


def _check_value(family: str, name: str, value: Any, training: Training) -> None:
    try:
        training.tuned(family, {name: value})
    except ValidationError as error:
        cause = error.errors()[0]["msg"]
        raise InputError(f"the search space of '{name}' has the invalid value {value!r}: {cause}.") from error


def grid(space: Space) -> dict[str, list[Any]]:
    """Return the values of each hyperparameter of a grid; 'high' is included if the steps reach it."""
    return {name: _values(values) for name, values in space.items()}


def _values(values: Range | Choice) -> list[Any]:
    if isinstance(values, Choice):
        return list(values.choices)
    assert values.step is not None
    steps = int((values.high - values.low) / values.step + 1e-9) + 1
    points = [values.low + index * values.step for index in range(steps)]
    return [int(point) for point in points] if values.integer else [float(np.round(point, 12)) for point in points]


def draw(trial: Any, space: Space, *, as_grid: bool) -> dict[str, Any]:
    """Draw a value for each hyperparameter of the space from an Optuna trial."""
    return {name: _suggest(trial, name, values, as_grid=as_grid) for name, values in space.items()}


def _suggest(trial: Any, name: str, values: Range | Choice, *, as_grid: bool) -> Any:
    if isinstance(values, Choice):
        return trial.suggest_categorical(name, list(values.choices))
    if as_grid:
        return trial.suggest_categorical(name, _values(values))
    if values.integer:
        low, high = int(values.low), int(values.high)
        return trial.suggest_int(name, low, high, step=int(values.step or 1), log=values.log)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)


def planned(tuning: Tuning, training: Training, family: str, seed: int) -> list[dict[str, Any]]:
    """Return the points of a family that are queued before its first trial, in order.

    For a grid: its points in random order, limited to the number of trials. Otherwise: the values of 'training', if
    the space contains all of them.
    """
    space = tuning.space_of(family)
    if tuning.sampler == "grid":
        values = grid(space)
        points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
        return [points[index] for index in np.random.default_rng(seed).permutation(len(points))[: tuning.trials]]
    point = {name: getattr(training.of(family), name) for name in space}
    return [point] if all(_contains(values, point[name]) for name, values in space.items()) else []


def _contains(values: Range | Choice, value: Any) -> bool:
    if isinstance(values, Choice):
        return value in values.choices
    if not values.low <= value <= values.high:
        return False
    return values.step is None or abs((value - values.low) / values.step % 1) < 1e-9
