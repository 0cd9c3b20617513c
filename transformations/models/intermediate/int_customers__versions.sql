with

numbered as (

    select
        *,
        row_number() over (partition by customer_id order by dbt_valid_from asc) as version
    from {{ ref('customers_history') }}
    -- A correction with the time of what it corrects leaves a version that never held.
    where dbt_valid_to is null or dbt_valid_to > dbt_valid_from

)

select
    md5(customer_id || '|' || version::text) as customer_key,
    customer_id,
    segment,
    country,
    city,
    newsletter,
    customer_since,
    -- The first version holds for the time before the platform knew the customer, too.
    case
        when version = 1 then least(customer_since, dbt_valid_from at time zone 'UTC')
        else dbt_valid_from at time zone 'UTC'
    end as valid_from,
    dbt_valid_to at time zone 'UTC' as valid_to,
    dbt_valid_to is null as is_current,
    version
from numbered
