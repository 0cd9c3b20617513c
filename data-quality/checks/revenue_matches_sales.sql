-- dataset: curated.agg_revenue_daily
-- severity: critical
-- dimension: accuracy
-- description: The daily revenue is the sum of the day's sales, to the cent.
select
    days.sale_date,
    days.revenue as daily,
    sales.revenue as single
from curated.agg_revenue_daily as days
full outer join (
    select
        sale_date,
        sum(total_amount) as revenue
    from curated.fct_sales
    group by sale_date
) as sales on days.sale_date = sales.sale_date
where days.revenue is distinct from sales.revenue
