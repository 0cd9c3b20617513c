-- The calendar has every day of its years, and every day on which something was sold or ordered.
with

gaps as (

    select date_day
    from {{ ref('dim_date') }}
    where
        date_day + 1 not in (select next.date_day from {{ ref('dim_date') }} as next)
        and date_day != (select max(latest.date_day) from {{ ref('dim_date') }} as latest)

),

used as (

    select sale_date as date_day from {{ ref('agg_revenue_daily') }}
    union
    select order_date from {{ ref('fct_orders') }}

)

select date_day from gaps
union all
select used.date_day
from used
left join {{ ref('dim_date') }} as days on used.date_day = days.date_day
where days.date_day is null
