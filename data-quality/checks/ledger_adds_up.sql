-- dataset: audit.file_ingestion_log
-- severity: critical
-- dimension: consistency
-- description: Every row that was read is rejected, deduplicated, inserted, updated or unchanged.
select
    dataset,
    path,
    rows_read
from audit.file_ingestion_log
where
    status = 'succeeded'
    and rows_read != rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged
