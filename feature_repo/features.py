"""The features of a customer; sql/<view>.sql computes the rows of each view.

The source of a view is data/<view>.parquet, the result of its SQL. A row has two times: event_timestamp, when its
values became true, and created_at, when they became known. The row is used from the later one on.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Bool, Float64, Int64, String
from feast.value_type import ValueType

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)

profile = FeatureView(
    name="profile",
    entities=[customer],
    ttl=timedelta(0),  # A profile is valid until the next one.
    source=FileSource(
        name="profile",
        path="data/profile.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_at",
    ),
    schema=[
        Field(name="plan", dtype=String),
        Field(name="contract", dtype=String),
        Field(name="monthly_fee", dtype=Float64, description="In euros."),
        Field(name="payment", dtype=String),
        Field(name="paperless", dtype=Bool),
        Field(name="region", dtype=String),
        Field(name="device", dtype=String),
        Field(name="age_group", dtype=String),
        Field(name="gender", dtype=String, description="For fairness only; not an input of the model."),
    ],
)

usage = FeatureView(
    name="usage",
    entities=[customer],
    ttl=timedelta(days=70),  # Older figures are outdated: the next month's are overdue.
    source=FileSource(
        name="usage",
        path="data/usage.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_at",
    ),
    schema=[
        Field(name="network", dtype=String),
        Field(name="tenure_months", dtype=Float64),
        Field(name="data_gb", dtype=Float64),
        Field(
            name="data_change",
            dtype=Float64,
            description="Logarithm of the last month over the mean of the three before.",
        ),
        Field(name="minutes", dtype=Float64),
        Field(name="overdue_days", dtype=Float64),
    ],
)

support = FeatureView(
    name="support",
    entities=[customer],
    ttl=timedelta(0),  # A count is valid until the next change.
    source=FileSource(name="support", path="data/support.parquet", timestamp_field="event_timestamp"),
    schema=[
        Field(name="contacts_90d", dtype=Int64),
        Field(name="unhappy_90d", dtype=Int64, description="Contacts with a satisfaction of 1 or 2."),
        Field(name="last_satisfaction", dtype=Float64),
    ],
)

churn = FeatureService(name="churn_v1", features=[profile, usage, support])
