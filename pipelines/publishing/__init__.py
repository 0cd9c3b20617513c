"""From candidate to curated: marts that passed their checks are published together, and exported as Parquet.

    schema candidate ──one transaction──▶ schema curated ──▶ bucket curated, a manifest for each model

No Airflow here. dbt builds the candidates (`pipelines.transformation`); nobody but this package writes `curated`.
"""

from __future__ import annotations

from pipelines.publishing.export import export_models
from pipelines.publishing.holding import hold_back
from pipelines.publishing.marts import Mart, marts_of
from pipelines.publishing.publication import Change, Publication, PublicationRefused, anything_published, publish

__all__ = [
    "Change",
    "Mart",
    "Publication",
    "PublicationRefused",
    "anything_published",
    "export_models",
    "hold_back",
    "marts_of",
    "publish",
]
