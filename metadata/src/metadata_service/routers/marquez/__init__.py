"""Marquez' API under /api/v1, for its clients and its web UI: https://marquezproject.github.io/marquez/openapi.html."""

from fastapi import APIRouter

from metadata_service.routers.marquez import datasets, graph, jobs, registry

router = APIRouter(prefix="/api/v1", tags=["Marquez"])
for module in (graph, registry, datasets, jobs):
    router.include_router(module.router)

__all__ = ["router"]
