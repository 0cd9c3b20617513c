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
from {{ ref('int_customers__bought') }} as bought
left join {{ ref('dim_customer') }} as customers
    on bought.customer_id = customers.customer_id and customers.is_current
