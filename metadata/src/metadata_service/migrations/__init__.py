"""Alembic migrations, shipped inside the package so that the service migrates its own database."""
