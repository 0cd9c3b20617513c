with

by_day as (

    select
        sale_date,
        sum(sales)::bigint as sales,
        sum(quantity)::bigint as quantity,
        sum(revenue) as revenue
    from {{ ref('int_sales__daily') }}
    group by sale_date

)

select
    sale_date,
    sales,
    quantity,
    revenue,
    round(
        avg(revenue) over (order by sale_date range between interval '6 days' preceding and current row), 2
    ) as revenue_7_day_average
from by_day
