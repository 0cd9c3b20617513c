{{ config(materialized='table') }}

select
    sale_date,
    product_category,
    region,
    count(*) as sales,
    sum(quantity) as quantity,
    sum(total_amount) as revenue
from {{ ref('fct_sales') }}
group by sale_date, product_category, region
