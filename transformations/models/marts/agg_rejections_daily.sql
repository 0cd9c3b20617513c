select
    files.finished_on as day,
    files.dataset,
    reasons.rule,
    sum(reasons.rows::bigint)::bigint as rows
from {{ ref('stg_audit__files') }} as files
cross join lateral jsonb_each_text(files.rejects_by_rule) as reasons (rule, rows)
group by files.finished_on, files.dataset, reasons.rule
