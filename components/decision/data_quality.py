"""Say where the logged features violate their schema, and whether a column is wrong or only single requests are."""

from collections.abc import Iterator

from components.shared.documents.data_quality import DataQuality
from components.shared.documents.monitoring import Signal

NAME = "data quality"
_SHOWN = 3
"""Findings that a sentence gives in full."""


def signals(quality: DataQuality) -> Iterator[Signal]:
    """Yield one signal about all findings together."""
    if quality.reason is not None:
        yield Signal(name=NAME, state="unknown", sentence=f"data quality is unknown: {quality.reason}")
        return
    if not quality.findings:
        sentence = f"{quality.columns} inputs conform to their schema"
        yield Signal(name=NAME, state="quiet", sentence=sentence)
        return
    columns = len({finding.column for finding in quality.findings})
    shown = "; ".join(finding.sentence for finding in quality.findings[:_SHOWN])
    more = f"; and {len(quality.findings) - _SHOWN} more" if len(quality.findings) > _SHOWN else ""
    sentence = f"{columns} of {quality.columns} inputs violate their schema: {shown}{more}"
    yield Signal(name=NAME, state="changed", sentence=sentence)
