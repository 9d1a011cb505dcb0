-- One row per change of a profile.
SELECT
    customer_id,
    valid_from AS event_timestamp,
    known_at AS created_at,
    plan, contract, monthly_fee, payment, paperless, region, device, age_group, gender
FROM profiles
