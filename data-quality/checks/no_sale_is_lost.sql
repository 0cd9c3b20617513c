-- dataset: curated.fct_sales
-- severity: critical
-- dimension: completeness
-- description: Every sale that was loaded before the last build is in the facts.
select sales.sale_id
from staging.sales as sales
left join curated.fct_sales as facts on sales.sale_id = facts.sale_id
where
    facts.sale_id is null
    -- A file is built whole, and one that was loaded meanwhile is the next build's.
    and (
        sales._file_id in (select built.file_id from curated.fct_sales as built)
        or sales._loaded_at
        < coalesce((select max(newest.loaded_at) - interval '1 hour' from curated.fct_sales as newest), 'infinity')
    )
