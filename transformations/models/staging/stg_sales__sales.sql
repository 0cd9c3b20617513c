select
    sale_id,
    sale_date,
    customer_id,
    product_id,
    product_category,
    quantity,
    unit_price,
    total_amount,
    region,
    updated_at,
    _file_id as file_id,
    _loaded_at as loaded_at
from {{ source('sales', 'sales') }}
