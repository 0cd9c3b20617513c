{{ config(
    materialized='incremental',
    unique_key='order_id',
    post_hook=["{{ delete_vanished('order_id', ref('stg_sales__orders')) }}", "{{ analyze_new() }}"],
    indexes=[{'columns': ['order_date']}, {'columns': ['file_id']}],
    meta={'owner': 'order-management', 'partition_by': 'order_date'}
) }}

select
    {{ as_key('order_id') }},
    (ordered_at at time zone 'UTC')::date as order_date,
    customer_id,
    channel,
    status,
    status not in ('delivered', 'cancelled', 'returned') as is_open,
    items,
    amount,
    currency,
    coupon,
    ordered_at,
    updated_at as status_changed_at,
    round(extract(epoch from updated_at - ordered_at) / 3600, 2) as hours_in_progress,
    file_id,
    {{ built_at() }} as built_at
from {{ ref('stg_sales__orders') }}
{{ where_file_is_new('file_id') }}
