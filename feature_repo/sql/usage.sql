-- Monthly usage and its change. A row is known when all months that it is computed from are known.
WITH months AS (
    SELECT
        *,
        avg(data_gb) OVER earlier AS data_before,
        max(known_at) OVER (PARTITION BY customer_id ORDER BY month ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS created_at
    FROM usage
    WINDOW earlier AS (PARTITION BY customer_id ORDER BY month ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)
),
joined AS (SELECT customer_id, min(joined_at) AS joined_at FROM profiles GROUP BY customer_id)
SELECT
    months.customer_id,
    month + INTERVAL 1 MONTH AS event_timestamp,
    created_at,
    network,
    round(date_diff('day', joined_at, month + INTERVAL 1 MONTH) / 30.4, 1) AS tenure_months,
    data_gb,
    round(ln((data_gb + 0.1) / (data_before + 0.1)), 4) AS data_change,
    minutes,
    overdue_days
FROM months
LEFT JOIN joined USING (customer_id)
