"""Marquez' API over this service's catalog: https://marquezproject.github.io/marquez/openapi.html."""
