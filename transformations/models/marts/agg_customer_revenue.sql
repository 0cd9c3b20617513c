with

bought as (

    select
        customer_id,
        count(*) as sales,
        sum(quantity) as quantity,
        sum(total_amount) as revenue,
        min(sale_date) as first_sale_on,
        max(sale_date) as last_sale_on
    from {{ ref('fct_sales') }}
    where customer_id is not null
    group by customer_id

)

select
    bought.customer_id,
    customers.segment,
    customers.country,
    bought.sales,
    bought.quantity,
    bought.revenue,
    round(bought.revenue / bought.sales, 2) as average_sale,
    bought.first_sale_on,
    bought.last_sale_on,
    rank() over (order by bought.revenue desc) as revenue_rank,
    {{ percent('bought.revenue', 'sum(bought.revenue) over ()') }} as revenue_share_percent
from bought
left join {{ ref('dim_customer') }} as customers
    on bought.customer_id = customers.customer_id and customers.is_current
