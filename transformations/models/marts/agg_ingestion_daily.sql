select
    finished_on as day,
    dataset,
    count(*) as files,
    count(*) filter (where status = 'succeeded') as succeeded,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'duplicate') as duplicates,
    sum(rows_read)::bigint as rows_read,
    sum(rows_rejected)::bigint as rows_rejected,
    sum(rows_deduplicated)::bigint as rows_deduplicated,
    sum(rows_inserted)::bigint as rows_inserted,
    sum(rows_updated)::bigint as rows_updated,
    sum(rows_unchanged)::bigint as rows_unchanged,
    sum(source_size)::bigint as bytes,
    sum(seconds) as seconds
from {{ ref('stg_audit__files') }}
group by finished_on, dataset
