select
    product_id,
    name,
    category,
    brand,
    ean,
    list_price,
    unit_cost,
    weight_grams,
    labels,
    active,
    launched_on,
    updated_at
from {{ source('sales', 'products') }}
