"""Search: what is to be found of datasets, jobs and products, and the words that a mistyped one may stand for.

Postgres' own full text search with its GIN indexes, so that no extension is asked for. The vocabulary is filled from a
queue by the service: words that several transactions bring at once would make them wait for each other.

The bodies of functions are SQL, not text: what they call is bound when they are made. A dump is restored with an empty
search path, where a text would not find the other functions that a generated column needs.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Words are what stands between ASCII's blanks and punctuation; `OrderItems` is found by its parts too.
WORDS = r"""
CREATE FUNCTION search_words(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT regexp_replace(
    CASE WHEN value ~ '[a-z0-9][A-Z]' THEN value || ' ' || regexp_replace(value, '([a-z0-9])([A-Z])', '\1 \2', 'g')
         ELSE value END,
    '[\x01-/:-@\[-`{-~]+', ' ', 'g');
END
"""
# What people call a thing: the last part of its name.
TITLE = r"""
CREATE FUNCTION search_title(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT CASE WHEN name LIKE '%/%' THEN regexp_replace(rtrim(name, '/'), '^.*/', '')
            ELSE regexp_replace(name, '^.*\.', '') END;
END
"""
# Words by weight: A title, B what else names or marks it, C columns, D description. The words of the title, and what
# lists are narrowed to, are words of their own with a sign that no other word has: an index knows words, not weights.
# Bounds keep any input within what a tsvector takes.
VECTOR = """
CREATE FUNCTION search_vector(title text, names text, columns jsonb, description text, marks text[])
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT setweight(to_tsvector('simple', search_words(left(title, 2000))), 'A')
    || setweight(to_tsvector('simple', search_words(left(names, 10000))), 'B')
    || setweight(to_tsvector('simple', search_words(left(
           translate(jsonb_path_query_array(columns, '$[*].name')::text, '[]",', '    '), 50000))), 'C')
    || setweight(to_tsvector('simple', search_words(left(coalesce(description, ''), 20000))), 'D')
    || array_to_tsvector(ARRAY(
           SELECT left(mark, 500) FROM unnest(marks) AS m (mark) WHERE mark IS NOT NULL
            UNION SELECT 'title=' || word
                    FROM unnest(tsvector_to_array(to_tsvector('simple', search_words(left(title, 2000))))) AS t (word)
                   WHERE length(word) <= 400));
END
"""
JOINED = """
CREATE FUNCTION search_joined(parts text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT array_to_string(parts, ' ');
END
"""
MARKED = """
CREATE FUNCTION search_marked(mark text, parts text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT ARRAY(SELECT mark || lower(part) FROM unnest(parts) AS p (part));
END
"""
VECTORS = {
    "dataset": "search_vector(search_title(name), search_joined(ARRAY[name, namespace, uri, owner, domain] || tags),"
    " fields, description, ARRAY['namespace=' || namespace, 'owner=' || lower(owner), 'layer=' || layer]"
    " || search_marked('tag=', tags))",
    "job": "search_vector(search_title(name), name || ' ' || namespace, '[]', NULL, ARRAY['namespace=' || namespace])",
    "product": "search_vector(name, search_joined(ARRAY[domain, owner] || tags), columns, description,"
    " ARRAY['owner=' || lower(owner)] || search_marked('tag=', tags))",
}
# All texts that are left when up to two characters of a word's beginning are left out, as hashes: two words that
# differ by two typos have one in common (the symmetric delete method of SymSpell).
VARIANTS = """
CREATE FUNCTION search_variants(word text) RETURNS integer[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
WITH beginning AS (SELECT left(word, 8) AS text),
     once AS (SELECT i, overlay(text placing '' from i for 1) AS text
                FROM beginning, generate_series(1, length(text)) AS i)
SELECT array_agg(DISTINCT hashtext(text)) FROM (
    SELECT text FROM beginning
     UNION SELECT text FROM once
     UNION SELECT overlay(text placing '' from j for 1) FROM once, generate_series(i, length(text)) j) AS v;
END
"""
NOTE_WORDS = """
CREATE FUNCTION search_note_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_new_word
    SELECT w.word FROM unnest(tsvector_to_array(NEW.search)) AS w (word)
     WHERE w.word ~ '^[^=0-9]{3,40}$' AND NOT EXISTS (SELECT FROM search_word k WHERE k.word = w.word);
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Create functions, columns, indexes and the vocabulary, and fill them from what is there."""
    for statement in (WORDS, TITLE, VECTOR, JOINED, MARKED, VARIANTS):
        op.execute(statement)
    op.execute("CREATE TABLE search_word (word text PRIMARY KEY, variants integer[] NOT NULL)")
    op.execute("CREATE INDEX search_word_by_variants ON search_word USING gin (variants)")
    op.execute("CREATE TABLE search_new_word (word text NOT NULL)")
    op.execute(NOTE_WORDS)
    op.execute("CREATE INDEX dataset_by_lower_uri ON dataset (lower(left(uri, 500))) WHERE uri IS NOT NULL")
    for table, vector in VECTORS.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN search tsvector GENERATED ALWAYS AS ({vector}) STORED")
        op.execute(f"CREATE INDEX {table}_search ON {table} USING gin (search)")
        op.execute(f"CREATE INDEX {table}_by_lower_name ON {table} (lower(name))")
        op.execute(f"CREATE INDEX {table}_by_title ON {table} (lower(search_title(name)))")
        op.execute(
            f"INSERT INTO search_new_word SELECT DISTINCT word FROM {table}, unnest(tsvector_to_array(search)) AS word"
            " WHERE word ~ '^[^=0-9]{3,40}$'"
        )
        op.execute(
            f"CREATE TRIGGER note_new_words AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION search_note_words()"
        )
        op.execute(
            f"CREATE TRIGGER note_words AFTER UPDATE ON {table}"
            " FOR EACH ROW WHEN (OLD.search IS DISTINCT FROM NEW.search) EXECUTE FUNCTION search_note_words()"
        )


def downgrade() -> None:
    """Drop all of it."""
    for table in VECTORS:
        op.execute(f"DROP TRIGGER note_words ON {table}")
        op.execute(f"DROP TRIGGER note_new_words ON {table}")
        op.execute(f"DROP INDEX {table}_by_lower_name, {table}_by_title")
        op.execute(f"ALTER TABLE {table} DROP COLUMN search")
    op.execute("DROP INDEX dataset_by_lower_uri")
    op.execute("DROP FUNCTION search_note_words")
    op.execute("DROP TABLE search_word, search_new_word")
    op.execute("DROP FUNCTION search_vector, search_words, search_title, search_joined, search_marked, search_variants")
