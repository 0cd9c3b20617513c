{{ config(materialized='table') }}

with

by_category as (

    select
        product_id,
        product_category,
        max(updated_at) as newest,
        min(sale_date) as first_sold_on,
        max(sale_date) as last_sold_on,
        count(*) as sales,
        sum(quantity) as quantity,
        sum(total_amount) as revenue
    from {{ ref('fct_sales') }}
    group by product_id, product_category

),

ranked as (

    select
        *,
        row_number() over (partition by product_id order by newest desc, product_category asc) as place
    from by_category

)

select
    product_id,
    -- A product can change its category: the newest sale knows the current one.
    max(product_category) filter (where place = 1) as product_category,
    min(first_sold_on) as first_sold_on,
    max(last_sold_on) as last_sold_on,
    sum(sales)::bigint as sales,
    round(sum(revenue) / nullif(sum(quantity), 0), 2) as average_price
from ranked
group by product_id
