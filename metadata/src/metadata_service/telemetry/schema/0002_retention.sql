-- Since when no span has been dropped: noted when the retention changes, by what it was until then.
CREATE TABLE IF NOT EXISTS spans_kept (since DateTime('UTC')) ENGINE = MergeTree ORDER BY since;
