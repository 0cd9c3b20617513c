"""Tags that columns inherit along column lineage: what was personal upstream is personal here.

Computed when asked for, so a tag that is set or taken away upstream shows at once.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from metadata_service.models import Dataset
from metadata_service.repositories import inheritance

# Tags that say how data must be treated stay with the values; others describe one column only.
INHERITED_TAGS = frozenset({"pii", "sensitive", "confidential", "restricted"})


def inherited_tags(session: Session, dataset: Dataset) -> dict[str, list[str]]:
    """Return for each column of a dataset the tags of the columns its values come from, without those of its own."""
    own = {column["name"]: {tag.lower() for tag in column["tags"]} for column in dataset.fields}
    found: dict[str, list[str]] = {name: [] for name in own}
    for name, tag in inheritance.tags_above(session, dataset.id, own, INHERITED_TAGS):
        if tag.lower() not in own[name]:
            found[name].append(tag)
    return found
