with

by_customer as (

    select
        sale_date,
        customer_id,
        count(*) as sales,
        sum(quantity) as quantity,
        sum(total_amount) as revenue
    from {{ ref('fct_sales') }}
    group by sale_date, customer_id

),

by_day as (

    select
        sale_date,
        sum(sales)::bigint as sales,
        count(customer_id) as customers,
        sum(quantity)::bigint as quantity,
        sum(revenue) as revenue
    from by_customer
    group by sale_date

)

select
    sale_date,
    sales,
    customers,
    quantity,
    revenue,
    round(
        avg(revenue) over (order by sale_date range between interval '6 days' preceding and current row), 2
    ) as revenue_7_day_average
from by_day
