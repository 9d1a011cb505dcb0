-- Contacts of the last 90 days. The counts change when a contact becomes known and again when it is 90 days old; each
-- change is a row with the time of the change. A customer without contacts has counts of zero from the start.
WITH changes AS (
    SELECT customer_id, known_at AS changed_at, 1 AS contacts, (satisfaction <= 2)::INTEGER AS unhappy, satisfaction
    FROM contacts
    UNION ALL
    SELECT
        customer_id,
        greatest(contacted_at + INTERVAL 90 DAY, known_at),
        -1,
        -(satisfaction <= 2)::INTEGER,
        NULL
    FROM contacts
    UNION ALL
    SELECT customer_id, min(joined_at), 0, 0, NULL FROM profiles GROUP BY customer_id
),
moments AS (
    SELECT
        customer_id,
        changed_at,
        sum(contacts) AS contacts,
        coalesce(sum(unhappy), 0) AS unhappy,
        avg(satisfaction) AS satisfaction
    FROM changes
    GROUP BY customer_id, changed_at
)
SELECT
    customer_id,
    changed_at AS event_timestamp,
    (sum(contacts) OVER earlier)::BIGINT AS contacts_90d,
    (sum(unhappy) OVER earlier)::BIGINT AS unhappy_90d,
    last_value(satisfaction IGNORE NULLS) OVER earlier AS last_satisfaction
FROM moments
WINDOW earlier AS (PARTITION BY customer_id ORDER BY changed_at ROWS UNBOUNDED PRECEDING)
