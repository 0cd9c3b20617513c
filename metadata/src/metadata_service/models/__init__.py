"""Tables of the metadata store, a module for each of its parts."""

from metadata_service.models.access import ApiKey, AuditEntry, NamespaceGrant
from metadata_service.models.base import Base
from metadata_service.models.history import SchemaVersion
from metadata_service.models.lineage import (
    ColumnEdge,
    Dataset,
    Event,
    Facet,
    FailedEvent,
    Job,
    JobDataset,
    JobDesign,
    QueuedEvent,
    Run,
    RunDataset,
)
from metadata_service.models.marquez import Namespace, Source, Tag
from metadata_service.models.products import Product, ProductDataset, ProductLineageEdge, ProductVersion
from metadata_service.models.quality import CurrentResult, QualityResult, QualityRun, QualityState

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "ColumnEdge",
    "CurrentResult",
    "Dataset",
    "Event",
    "Facet",
    "FailedEvent",
    "Job",
    "JobDataset",
    "JobDesign",
    "Namespace",
    "NamespaceGrant",
    "Product",
    "ProductDataset",
    "ProductLineageEdge",
    "ProductVersion",
    "QualityResult",
    "QualityRun",
    "QualityState",
    "QueuedEvent",
    "Run",
    "RunDataset",
    "SchemaVersion",
    "Source",
    "Tag",
]
