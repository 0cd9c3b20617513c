{#- Names, addresses and dates of birth stay in staging: who reads the marts needs none of them. -#}
select
    customer_id,
    segment,
    country,
    city,
    newsletter,
    created_at as customer_since,
    -- dbt's snapshots keep times without a zone.
    updated_at at time zone 'UTC' as updated_at
from {{ ref('stg_sales__customers') }}
