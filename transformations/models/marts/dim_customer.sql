select
    customer_key,
    customer_id,
    segment,
    country,
    city,
    newsletter,
    customer_since,
    valid_from,
    valid_to,
    is_current,
    version::integer as version
from {{ ref('int_customers__versions') }}
