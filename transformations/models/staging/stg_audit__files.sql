select
    id as file_id,
    dataset,
    status,
    (finished_at at time zone 'UTC')::date as finished_on,
    rows_read,
    rows_rejected,
    rows_deduplicated,
    rows_inserted,
    rows_updated,
    rows_unchanged,
    rejects_by_rule,
    source_size,
    round(extract(epoch from finished_at - started_at), 3) as seconds
from {{ source('audit', 'file_ingestion_log') }}
