with

latest as (

    -- A product can change its category: the newest sale knows the current one.
    select distinct on (product_id)
        product_id,
        product_category
    from {{ ref('stg_sales__sales') }}
    order by product_id asc, updated_at desc, sale_id desc

),

totals as (

    select
        product_id,
        min(sale_date) as first_sold_on,
        max(sale_date) as last_sold_on,
        count(*) as sales,
        round(sum(total_amount) / nullif(sum(quantity), 0), 2) as average_price
    from {{ ref('stg_sales__sales') }}
    group by product_id

)

select
    latest.product_id,
    latest.product_category,
    totals.first_sold_on,
    totals.last_sold_on,
    totals.sales,
    totals.average_price
from latest
inner join totals on latest.product_id = totals.product_id
