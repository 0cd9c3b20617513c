{#- When this build began, the same in all of its rows: a publication takes over the rows built since the last one. -#}
{% macro built_at() -%}
    '{{ run_started_at.isoformat() }}'::timestamptz
{%- endmacro %}


{#- A text key as a mart's column has it. Staging sorts its keys by bytes (COLLATE "C"), and Postgres uses an index only
    for its own collation: the merge would read the whole mart for every increment. -#}
{% macro as_key(column) -%}
    {{ column }} collate "default" as {{ column }}
{%- endmacro %}


{#- Files are loaded whole, in one transaction each. A row is new to this table exactly if its file is: no row is
    missed because it came late or was committed out of order, as it would be by comparing times. -#}
{% macro where_file_is_new(column) -%}
    {% if is_incremental() -%}
        where {{ column }} not in (
            -- From one file to the next by the index on file_id, whatever the number of rows.
            with recursive built as (
                select min(file_id) as file_id from {{ this }}
                union all
                select (select min(rows.file_id) from {{ this }} as rows where rows.file_id > built.file_id)
                from built
                where built.file_id is not null
            )

            select built.file_id from built where built.file_id is not null
        )
    {%- endif %}
{%- endmacro %}


{#- Rows that left the source leave the table, too. After the merge the table has every row of the source, so equal
    counts say that there is nothing to look for. -#}
{% macro delete_vanished(key, source) -%}
    delete from {{ this }} as built
    where
        (select count(*) from {{ this }}) > (select count(*) from {{ source }})
        and not exists (select from {{ source }} as source where source.{{ key }} = built.{{ key }})
{%- endmacro %}


{#- Statistics for a table that has none yet. Later autovacuum keeps them: an increment of some files need not wait. -#}
{% macro analyze_new() -%}
    do $$
    begin
        if not exists (select from pg_stats where schemaname = '{{ this.schema }}' and tablename = '{{ this.identifier }}')
        then
            analyze {{ this }};
        end if;
    end $$
{%- endmacro %}


{#- A share in percent, two decimals; none of nothing. -#}
{% macro percent(part, whole) -%}
    round(100.0 * ({{ part }}) / nullif({{ whole }}, 0), 2)
{%- endmacro %}
