-- At any moment one version of a customer holds, from the first day to now.
with

versions as (

    select
        customer_id,
        valid_from,
        valid_to,
        lead(valid_from) over (partition by customer_id order by version) as next_from
    from {{ ref('dim_customer') }}

)

select *
from versions
where valid_to is distinct from next_from or valid_to <= valid_from
