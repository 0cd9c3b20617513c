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
    updated_at,
    _file_id as file_id
from {{ source('sales', 'orders') }}
