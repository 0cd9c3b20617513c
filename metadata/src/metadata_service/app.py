"""The application: routes, middleware, error handlers and the state they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from metadata_service.database import make_engine
from metadata_service.dependencies import check_reader
from metadata_service.lean import LeanMiddleware
from metadata_service.metrics import Metrics
from metadata_service.middleware import BodyLimitMiddleware, RequestContextMiddleware
from metadata_service.problems import RESPONSES, install_handlers
from metadata_service.repositories import tenancy
from metadata_service.repositories.warehouse import Warehouse
from metadata_service.routers import (
    analytics,
    datasets,
    domain_data,
    events,
    grants,
    hub,
    keys,
    lineage,
    marquez,
    pages,
    product_pages,
    products,
    runs,
    search,
    system,
    upkeep,
)
from metadata_service.services.access import KeyRing
from metadata_service.services.hub import Direct, ThroughKafka
from metadata_service.services.intake import Intake
from metadata_service.services.probes import Probes
from metadata_service.services.projector import Projector
from metadata_service.services.upkeep import Upkeep
from metadata_service.settings import ServiceSettings
from metadata_service.streaming.producer import Publisher
from metadata_service.telemetry.store import open_store
from metadata_service.telemetry.writer import TelemetryWriter

DESCRIPTION = "Catalog, lineage, runs and quality of the data platform. Writes need the API key as a bearer token."


def create_app(settings: ServiceSettings, engine: Engine) -> FastAPI:
    """Return the application on a database that is migrated already."""

    sessions = sessionmaker(engine, expire_on_commit=False)
    # Connections of their own: a connection that changes roles plans its statements anew.
    team_engine = make_engine(settings, tenancy.ROLE)
    metrics = Metrics()
    projector = Projector(sessions, metrics)
    warehouse = Warehouse(settings.warehouse_url.get_secret_value()) if settings.warehouse_url else None
    keeper = Upkeep(sessions, settings.retention_days)
    intake = Intake(settings.libpq_url, settings.intake_connections, projector.note_stored)
    telemetry = open_store(settings)
    writer = TelemetryWriter(telemetry)
    publisher = Publisher(settings) if settings.kafka_bootstrap_servers else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await intake.start()
        projector.start()
        keeper.start()
        if publisher is not None:
            publisher.start()
        yield
        if publisher is not None:
            await asyncio.to_thread(publisher.stop)
        await intake.stop()
        await writer.stop()
        await asyncio.to_thread(telemetry.close)
        await asyncio.to_thread(projector.stop)
        await asyncio.to_thread(keeper.stop)
        if warehouse is not None:
            warehouse.close()
        engine.dispose()
        team_engine.dispose()

    app = FastAPI(
        title="Metadata service",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_reader)],
        responses=RESPONSES,
        docs_url=None,  # FastAPI's pages load their scripts from a CDN; ours need no network
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.sessions = sessions
    app.state.team_sessions = sessionmaker(team_engine, expire_on_commit=False)
    app.state.metrics = metrics
    app.state.keys = KeyRing(sessions, settings.api_key.get_secret_value())
    app.state.intake = intake
    app.state.projector = projector
    app.state.telemetry = telemetry
    app.state.publisher = publisher
    app.state.probes = Probes()
    if publisher is None:
        app.state.transport = Direct(intake, writer)
    else:
        app.state.transport = ThroughKafka(publisher, settings, projector.note_stored)
    app.state.warehouse = warehouse
    install_handlers(app)
    app.include_router(hub.lean)
    for module in (
        system,
        keys,
        grants,
        events,
        hub,
        datasets,
        lineage,
        marquez,
        runs,
        products,
        domain_data,
        analytics,
        search,
        upkeep,
        pages,
        product_pages,
    ):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_middleware(BodyLimitMiddleware, most=settings.max_body_bytes, exempt={"/import"})
    app.add_middleware(LeanMiddleware, routes=app.routes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(RequestContextMiddleware, metrics=metrics)
    return app
