{{ config(indexes=[{'columns': ['sale_id'], 'unique': true}, {'columns': ['sale_date']}]) }}

select
    sales.sale_id,
    sales.sale_date,
    sales.customer_id,
    sales.product_id,
    products.product_category,
    sales.region,
    sales.quantity,
    sales.unit_price,
    sales.total_amount,
    sales.loaded_at
from {{ ref('stg_sales__sales') }} as sales
inner join {{ ref('dim_product') }} as products on sales.product_id = products.product_id
