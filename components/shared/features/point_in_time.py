"""Join entities and times with a feature service: each feature as it was known at its time."""

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore
from feast.errors import FeastError

from components.shared.errors import InputError
from components.shared.features import names


def join(store: FeatureStore, service: str, entities: pd.DataFrame, *, late_rows: bool = False) -> pa.Table:
    """Return the features of a service, one row per entity and time, in the order of ``names.ROW``.

    Args:
        store: Feast with the service applied, in the folder that the paths of its sources are relative to.
        service: Name of the feature service.
        entities: ``names.ROW`` (another integer in each row), the join key, and ``names.TIME`` (UTC, no zone).
        late_rows: Also use rows that became known only after the time: from their own time on.

    Raises:
        InputError: If Feast rejects the repository.
        RuntimeError: If rows were lost, as Feast's dask store loses those outside the time to live.
    """
    zoned = entities.assign(**{names.TIME: entities[names.TIME].dt.tz_localize("UTC")})
    try:
        joined = store.get_historical_features(
            entity_df=zoned, features=store.get_feature_service(service), filter_by_created_timestamp=not late_rows
        ).to_arrow()
    except (FeastError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Feast cannot join the feature service {service!r}: {reason}") from error
    joined = joined.sort_by(names.ROW)
    if not np.array_equal(joined[names.ROW].to_numpy(), np.sort(entities[names.ROW].to_numpy())):
        raise RuntimeError(f"Feast returned {len(joined)} rows for {len(entities)} examples.")
    return joined
