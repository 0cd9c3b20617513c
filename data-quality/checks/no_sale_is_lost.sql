-- dataset: curated.fct_sales
-- severity: critical
-- dimension: completeness
-- description: Every sale that was loaded before the last build is in the facts.
select sales.sale_id
from staging.sales as sales
left join curated.fct_sales as facts on sales.sale_id = facts.sale_id
where
    facts.sale_id is null
    -- What was loaded after the last build is the next one's.
    and sales._loaded_at <= coalesce((select max(newest.loaded_at) from curated.fct_sales as newest), 'infinity')
