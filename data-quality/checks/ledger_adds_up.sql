-- dataset: audit.file_ingestion_log
-- severity: critical
-- dimension: consistency
-- description: Every row read is rejected, deduplicated, inserted, updated or unchanged; what failed or is a duplicate changed nothing.
select
    dataset,
    path,
    status,
    rows_read
from audit.file_ingestion_log
where
    (
        status = 'succeeded'
        and rows_read != rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged
    )
    or (status = 'failed' and rows_read < rows_rejected + rows_deduplicated)
    or (status != 'succeeded' and rows_inserted + rows_updated + rows_unchanged != 0)
    or least(rows_read, rows_rejected, rows_deduplicated, rows_inserted, rows_updated, rows_unchanged) < 0
