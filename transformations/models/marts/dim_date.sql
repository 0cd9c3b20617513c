with

known as (

    select
        min(sale_date) as first_day,
        max(sale_date) as last_day
    from {{ ref('int_sales__daily') }}
    union all
    select
        min(order_date) as first_day,
        max(order_date) as last_day
    from {{ ref('fct_orders') }}

),

days as (

    -- Whole years, so that a year's days can be counted.
    select
        generate_series(
            date_trunc('year', coalesce(min(first_day), current_date)),
            date_trunc('year', coalesce(max(last_day), current_date)) + interval '1 year' - interval '1 day',
            interval '1 day'
        )::date as date_day
    from known

)

select
    days.date_day,
    extract(year from days.date_day)::integer as year,
    extract(quarter from days.date_day)::integer as quarter,
    extract(month from days.date_day)::integer as month,
    date_trunc('month', days.date_day)::date as month_start,
    extract(week from days.date_day)::integer as iso_week,
    date_trunc('week', days.date_day)::date as week_start,
    extract(isodow from days.date_day)::integer as day_of_week,
    to_char(days.date_day, 'FMDay') as day_name,
    extract(isodow from days.date_day) > 5 as is_weekend,
    holidays.holiday_name
from days
left join {{ ref('fixed_holidays') }} as holidays
    on
        extract(month from days.date_day) = holidays.month
        and extract(day from days.date_day) = holidays.day
