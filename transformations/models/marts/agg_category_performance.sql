with

by_month as (

    select
        date_trunc('month', sale_date)::date as month_start,
        product_category,
        sum(sales)::bigint as sales,
        sum(quantity)::bigint as quantity,
        sum(revenue) as revenue
    from {{ ref('int_sales__daily') }}
    group by date_trunc('month', sale_date), product_category

)

select
    this_month.month_start,
    this_month.product_category,
    this_month.sales,
    this_month.quantity,
    this_month.revenue,
    round(this_month.revenue / this_month.sales, 2) as average_sale,
    {{ percent('this_month.revenue', 'sum(this_month.revenue) over (partition by this_month.month_start)') }}
        as revenue_share_percent,
    last_month.revenue as previous_revenue,
    {{ percent('this_month.revenue - last_month.revenue', 'last_month.revenue') }} as change_percent
from by_month as this_month
left join by_month as last_month
    on
        this_month.product_category = last_month.product_category
        and this_month.month_start = last_month.month_start + interval '1 month'
