{{ config(materialized='table') }}

select
    sale_date,
    product_category,
    region,
    count(*) as sales,
    sum(quantity) as quantity,
    sum(total_amount) as revenue
from {{ ref('stg_sales__sales') }}
group by sale_date, product_category, region
