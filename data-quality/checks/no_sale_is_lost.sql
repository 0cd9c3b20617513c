-- dataset: curated.fct_sales
-- severity: critical
-- dimension: completeness
-- description: Every sale of the staging layer is in the facts.
select sales.sale_id
from staging.sales as sales
left join curated.fct_sales as facts on sales.sale_id = facts.sale_id
where facts.sale_id is null
