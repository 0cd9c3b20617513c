select
    customer_id,
    name,
    email,
    phone,
    street,
    postal_code,
    city,
    country,
    birth_date,
    segment,
    credit_limit,
    newsletter,
    created_at,
    updated_at
from {{ source('sales', 'customers') }}
