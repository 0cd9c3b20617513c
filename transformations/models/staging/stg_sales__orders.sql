select
    order_id,
    customer_id,
    ordered_at,
    status,
    channel,
    items,
    amount,
    currency,
    coupon,
    updated_at
from {{ source('sales', 'orders') }}
