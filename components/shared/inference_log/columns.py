"""The columns with features, which the log and the reference of monitoring have in common."""

import pyarrow as pa

RECEIVED = "received."
"""Prefix of a column with a feature as the request carried it."""
ENCODED = "encoded."
"""Prefix of a column with a number as the model saw it, which is in single precision."""
RECEIVED_TYPES = {"numeric": pa.float64(), "boolean": pa.bool_(), "categorical": pa.string()}
"""Type of a feature to the type of its column."""
