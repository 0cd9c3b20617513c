{#- Names, addresses and dates of birth stay in staging: who reads the marts needs none of them. -#}
with

bought as (

    select
        customer_id,
        min(sale_date) as first_sale_on,
        max(sale_date) as last_sale_on,
        count(*) as sales,
        sum(total_amount) as revenue
    from {{ ref('stg_sales__sales') }}
    where customer_id is not null
    group by customer_id

)

select
    customers.customer_id,
    customers.segment,
    customers.country,
    customers.newsletter,
    customers.created_at as customer_since,
    bought.first_sale_on,
    bought.last_sale_on,
    coalesce(bought.sales, 0) as sales,
    coalesce(bought.revenue, 0) as revenue
from {{ ref('stg_sales__customers') }} as customers
left join bought on customers.customer_id = bought.customer_id
