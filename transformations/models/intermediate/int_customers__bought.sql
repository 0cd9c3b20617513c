{{ config(materialized='table') }}

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
