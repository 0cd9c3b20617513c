"""Data products."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Double, ForeignKey, Identity, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class Product(Base):
    """A data product: datasets that somebody stands for. `columns` are declared; without them its datasets' count."""

    __tablename__ = "product"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    domain: Mapped[str]
    description: Mapped[str]
    owner: Mapped[str]
    status: Mapped[str]
    version: Mapped[str]
    tags: Mapped[list[str]]
    columns: Mapped[list[dict[str, Any]]]
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ProductDataset(Base):
    """A dataset of a product, at its place among them."""

    __tablename__ = "product_dataset"
    __table_args__ = (Index("product_dataset_by_dataset", "dataset_id"),)

    product_id: Mapped[UUID] = mapped_column(ForeignKey("product.id", ondelete="CASCADE"), primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int]


class ProductVersion(Base):
    """The columns of a product in one of its versions."""

    __tablename__ = "product_version"

    product_id: Mapped[UUID] = mapped_column(ForeignKey("product.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    columns: Mapped[list[dict[str, Any]]]
    released_at: Mapped[datetime]


class ProductLineageEdge(Base):
    """An edge between products, by their names, that was registered by hand."""

    __tablename__ = "product_lineage"
    __table_args__ = (
        UniqueConstraint("source", "target", "lineage_type"),
        Index("product_lineage_by_target", "target"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    source: Mapped[str] = mapped_column(ForeignKey("product.name", ondelete="CASCADE"))
    target: Mapped[str] = mapped_column(ForeignKey("product.name", ondelete="CASCADE"))
    transformation: Mapped[str]
    lineage_type: Mapped[str]
    confidence: Mapped[float] = mapped_column(Double)
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
