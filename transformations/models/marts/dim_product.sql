select
    sold.product_id,
    products.name as product_name,
    sold.product_category,
    products.brand,
    products.list_price,
    coalesce(products.active, false) as is_active,
    products.launched_on,
    sold.first_sold_on,
    sold.last_sold_on,
    sold.sales,
    sold.average_price
from {{ ref('int_products__sold') }} as sold
left join {{ ref('stg_sales__products') }} as products on sold.product_id = products.product_id
