"""Simulate a subscription business: generate the tables of the shipped example for any period.

>>> from datetime import date
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     rows = write(Path(folder), customers=100, start=date(2024, 1, 1), months=2, seed=7)
...     sorted(rows)
['contacts', 'labels', 'profiles', 'usage']
"""

from pipelines.simulator.switches import SWITCHES, Switch, parse_switch
from pipelines.simulator.writer import TABLES, write

__all__ = ["SWITCHES", "TABLES", "Switch", "parse_switch", "write"]
