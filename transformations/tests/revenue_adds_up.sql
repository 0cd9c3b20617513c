-- The daily revenue is the sum of the sales behind it, to the cent.
with

days as (select sum(revenue) as revenue from {{ ref('agg_revenue_daily') }}),

sales as (select sum(total_amount) as revenue from {{ ref('fct_sales') }})

select
    days.revenue as daily,
    sales.revenue as single
from days
cross join sales
where days.revenue is distinct from sales.revenue
