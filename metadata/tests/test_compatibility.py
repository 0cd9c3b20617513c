"""Which changes of columns break those who read them."""

from __future__ import annotations

import pytest

from metadata_service.compatibility import Break, breaks, is_wider, parse_version


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ("integer", "bigint", True),
        ("int4", "INT8", True),
        ("bigint", "integer", False),
        ("varchar(20)", "varchar(40)", True),
        ("varchar(40)", "varchar(20)", False),
        ("varchar(40)", "text", True),
        ("text", "varchar(40)", False),
        ("numeric(10,2)", "numeric(12,2)", True),
        ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric(10,4)", False),
        ("numeric(10,2)", "numeric", True),
        ("numeric", "numeric(10,2)", False),
        ("date", "timestamp", False),
        ("timestamp with time zone", "timestamptz", True),
        ("string", "text", True),
    ],
)
def test_a_wider_type_breaks_nobody(old: str, new: str, wider: bool) -> None:
    assert is_wider(old, new) is wider


def test_breaks_are_named() -> None:
    before = [
        {"name": "id", "type": "bigint", "required": True},
        {"name": "email", "type": "text"},
        {"name": "amount", "type": "numeric(12,2)"},
        {"name": "note"},
    ]
    after = [
        {"name": "amount", "type": "integer"},
        {"name": "id", "type": "bigint", "required": False},
        {"name": "note", "type": "text"},
        {"name": "new", "type": "text"},
    ]
    assert breaks(before, after) == [
        Break("id", "can be missing now"),
        Break("email", "is gone"),
        Break("amount", "was numeric(12,2) and is integer"),
    ]
    assert breaks(after, [*after, {"name": "newer", "type": "date"}]) == []


def test_versions() -> None:
    assert parse_version("12.0.3-rc.1") == (12, 0, 3)
    for text in ("1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.-3", "1.2.3 ", "1.2.x", ""):
        with pytest.raises(ValueError, match="semantic"):
            parse_version(text)
