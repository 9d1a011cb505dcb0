"""Say what became of the figures besides the loss that the project declares."""

from collections.abc import Iterator

from components.shared.documents.monitoring import PerformanceReport, Signal, WatchedMetric
from components.shared.wording import significant


def signals(performance: PerformanceReport) -> Iterator[Signal]:
    """Yield one signal for each kind of figure."""
    for name in dict.fromkeys(one.signal for one in performance.watched):
        figures = [one for one in performance.watched if one.signal == name]
        proven = [one for one in figures if one.alarm is not None]
        if proven:
            sentence = "; ".join(f"{_WORSE[name]}, proven on {one.alarm}: {_figure(one)}" for one in proven)
            yield Signal(name=name, state="alarm", sentence=sentence)
        else:
            sentence = f"{_AS_BEFORE[name]}: {'; '.join(map(_figure, figures))}"
            yield Signal(name=name, state="quiet", sentence=sentence)


_WORSE = {
    "value": "decisions are worth less than on the test rows",
    "fairness": "groups are acted on less alike than on the test rows",
    "latency": "more requests are too slow than promised",
}
_AS_BEFORE = {
    "value": "decisions are not worth less than on the test rows",
    "fairness": "groups are acted on as on the test rows",
    "latency": "requests are answered as fast as promised",
}


def _figure(one: WatchedMetric) -> str:
    """Return the figure with its interval, beside that of the test rows."""
    interval = "".join(
        f" ({significant(low)} to {significant(high)})"
        for low, high in [(one.metric.low, one.metric.high)]
        if low is not None and high is not None
    )
    value, reference = (
        "undefined" if number is None else significant(number) for number in (one.metric.value, one.reference)
    )
    basis = "promised" if one.signal == "latency" else "on the test rows"
    return f"{one.name} {value}{interval}, {reference} {basis}"
