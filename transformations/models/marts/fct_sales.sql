{{ config(
    materialized='incremental',
    unique_key='sale_id',
    post_hook=["{{ delete_vanished('sale_id', ref('stg_sales__sales')) }}", "{{ analyze_new() }}"],
    indexes=[{'columns': ['sale_date']}, {'columns': ['file_id']}],
    meta={'owner': 'sales-analytics', 'partition_by': 'sale_date'}
) }}

select
    {{ as_key('sale_id') }},
    sale_date,
    customer_id,
    product_id,
    product_category,
    region,
    quantity,
    unit_price,
    total_amount,
    updated_at,
    file_id,
    loaded_at,
    {{ built_at() }} as built_at
from {{ ref('stg_sales__sales') }}
{{ where_file_is_new('file_id') }}
