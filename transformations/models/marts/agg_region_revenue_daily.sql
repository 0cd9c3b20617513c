with

by_day as (

    select
        sale_date,
        region,
        sum(sales)::bigint as sales,
        sum(quantity)::bigint as quantity,
        sum(revenue) as revenue
    from {{ ref('int_sales__daily') }}
    group by sale_date, region

),

regions as (

    select distinct region
    from by_day

),

days as (

    select
        sale_date,
        count(*) over (order by sale_date range between interval '6 days' preceding and current row) as days_averaged
    from {{ ref('agg_revenue_daily') }}

),

-- A region that sold nothing on a day has a row, too: its average goes on.
every_region as (

    select
        days.sale_date,
        regions.region,
        days.days_averaged,
        coalesce(by_day.sales, 0) as sales,
        coalesce(by_day.quantity, 0) as quantity,
        coalesce(by_day.revenue, 0.00) as revenue
    from days
    cross join regions
    left join by_day on days.sale_date = by_day.sale_date and regions.region = by_day.region

)

select
    sale_date,
    region,
    sales,
    quantity,
    revenue,
    round(
        sum(revenue) over (
            partition by region order by sale_date range between interval '6 days' preceding and current row
        ) / days_averaged, 6
    ) as revenue_7_day_average
from every_region
