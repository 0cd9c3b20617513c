-- Written again, a row replaces itself: its sorting key is all that tells it from others.
CREATE TABLE IF NOT EXISTS spans (
    namespace LowCardinality(String),
    pipeline LowCardinality(String) COMMENT 'the job of lineage it belongs to, or its service',
    service_name LowCardinality(String),
    name LowCardinality(String),
    kind LowCardinality(String),
    status LowCardinality(String),
    status_message String,
    start_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    duration_ns UInt64 CODEC(T64, ZSTD),
    trace_id String CODEC(ZSTD),
    span_id String CODEC(ZSTD),
    parent_span_id String CODEC(ZSTD),
    run_id String CODEC(ZSTD),
    attributes Map(LowCardinality(String), String),
    resource Map(LowCardinality(String), String),
    events Nested (name LowCardinality(String), time DateTime64(9, 'UTC'), attributes Map(LowCardinality(String), String)),
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX trace_index trace_id TYPE bloom_filter GRANULARITY 1,
    INDEX run_index run_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toMonday(start_time)
ORDER BY (namespace, toStartOfMinute(start_time), pipeline, name, start_time, trace_id, span_id)
TTL toDateTime(start_time) + toIntervalDay({days})
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS metrics (
    namespace LowCardinality(String),
    name LowCardinality(String),
    type LowCardinality(String),
    temporality LowCardinality(String),
    unit LowCardinality(String),
    service_name LowCardinality(String),
    time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    value Float64 CODEC(Gorilla, ZSTD),
    count UInt64,
    bounds Array(Float64),
    bucket_counts Array(UInt64),
    attributes Map(LowCardinality(String), String),
    resource Map(LowCardinality(String), String),
    series UInt64 COMMENT 'tells the series of a name apart: service, resource and attributes',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toMonday(time)
ORDER BY (namespace, name, toStartOfMinute(time), series, time)
TTL toDateTime(time) + toIntervalDay({days})
SETTINGS ttl_only_drop_parts = 1;

-- What boards read. The minutes of what was written are computed anew from `spans`, so that nothing counts twice.
CREATE TABLE IF NOT EXISTS spans_by_minute (
    namespace LowCardinality(String),
    minute DateTime('UTC') CODEC(Delta, ZSTD),
    pipeline LowCardinality(String),
    service_name LowCardinality(String),
    name LowCardinality(String),
    spans UInt64,
    roots UInt64 COMMENT 'those that no other span began: calls of a pipeline',
    errors UInt64,
    root_errors UInt64,
    duration_ns UInt64,
    longest_ns UInt64,
    durations AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float64) COMMENT 'seconds',
    computed_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (namespace, minute, pipeline, service_name, name)
TTL minute + toIntervalDay(400);
