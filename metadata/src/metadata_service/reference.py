"""The API reference: the OpenAPI document as a page needs it. Nothing of it is loaded from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from shlex import quote
from typing import Any

from markupsafe import Markup, escape

Schema = dict[str, Any]
SCHEMA_PREFIX = "#/components/schemas/"
_METHODS = ("get", "post", "put", "patch", "delete")
_PLACEHOLDERS = {"uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "date-time": "2026-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Field:
    """A parameter of a request or a property of a schema; `type` may hold links to schemas."""

    name: str
    place: str
    type: Markup
    required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """A response: its status, what it means, and the type of its body."""

    status: str
    description: str
    type: Markup


@dataclass(frozen=True)
class Endpoint:
    """A method of a path."""

    id: str
    method: str
    path: str
    description: str
    needs_key: bool
    parameters: list[Field]
    body: Markup | None
    answers: list[Answer]
    curl: str


@dataclass(frozen=True)
class SchemaShown:
    """A schema of the API and its properties."""

    name: str
    description: str
    fields: list[Field]


@dataclass(frozen=True)
class Reference:
    """What the page shows."""

    title: str
    description: str
    groups: dict[str, list[Endpoint]]
    schemas: list[SchemaShown]


def build_reference(document: Schema, address: str) -> Reference:
    """Return the reference of an OpenAPI document; `address` (http://host:port) stands in the examples."""
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[Endpoint]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if operation := methods.get(method):
                tag = (operation.get("tags") or ["other"])[-1]
                groups.setdefault(tag, []).append(_endpoint(method, path, operation, schemas, address))
    return Reference(
        title=document["info"]["title"],
        description=document["info"].get("description", ""),
        groups=groups,
        schemas=[_schema(name, schema) for name, schema in sorted(schemas.items()) if not name.startswith("HTTPValid")],
    )


def _endpoint(method: str, path: str, operation: Schema, schemas: Schema, address: str) -> Endpoint:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = content.get("schema")
    parameters = [
        Field(
            item["name"],
            item["in"],
            _type(item["schema"]),
            item.get("required", False),
            item.get("description") or item["schema"].get("description", ""),
        )
        for item in operation.get("parameters", [])
    ]
    answers = [
        Answer(status, answer.get("description", ""), _type(_content_schema(answer)))
        for status, answer in sorted(operation.get("responses", {}).items())
        if status < "400"  # every endpoint's errors are problem documents: said once, at the top
    ]
    needs_key = bool(operation.get("security"))
    return Endpoint(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        description=operation.get("description") or operation.get("summary", ""),
        needs_key=needs_key,
        parameters=parameters,
        body=_type(body) if body else None,
        answers=answers,
        curl=_curl(method.upper(), address + path, needs_key, content, schemas),
    )


def _content_schema(answer: Schema) -> Schema:
    content: Schema = next(iter(answer.get("content", {}).values()), {})
    schema: Schema = content.get("schema", {})
    return schema


def _schema(name: str, schema: Schema) -> SchemaShown:
    required = set(schema.get("required", []))
    fields = [
        Field(key, "", _type(value), key in required, value.get("description", ""))
        for key, value in schema.get("properties", {}).items()
    ]
    return SchemaShown(name, schema.get("description", ""), fields)


def _type(schema: Schema) -> Markup:
    """Return a schema in words: `string or null`, `list of DatasetOut`, with links to the schemas of the page."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMA_PREFIX)
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if variants := schema.get("anyOf") or schema.get("oneOf"):
        return Markup(" or ").join(_type(variant) for variant in variants)
    if "enum" in schema:
        return Markup(" | ").join(escape(json.dumps(value)) for value in schema["enum"])
    if "const" in schema:
        return escape(json.dumps(schema["const"]))
    kind = schema.get("type")
    if kind == "array":
        return Markup("list of ") + _type(schema.get("items", {}))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of ") + _type(schema["additionalProperties"])
    if kind is None:
        return Markup("any JSON") if schema else Markup("")
    shown = escape(f"{kind} ({schema['format']})" if "format" in schema else kind)
    if "default" in schema and schema["default"] not in (None, [], {}):
        shown += Markup(", default {}").format(json.dumps(schema["default"]))
    return shown


def _curl(method: str, url: str, needs_key: bool, content: Schema, schemas: Schema) -> str:
    parts = ["curl" if method == "GET" else f"curl -X {method}"]
    if needs_key:
        parts.append('-H "Authorization: Bearer $API_KEY"')
    if content:
        body = content.get("example") or _example(content["schema"], schemas)
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {quote(json.dumps(body))}")
    return " \\\n  ".join([*parts, quote(url)])


def _example(schema: Schema, schemas: Schema) -> Any:
    """Return the smallest value that a schema takes."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(SCHEMA_PREFIX)]
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    if variants := schema.get("anyOf") or schema.get("oneOf"):
        return _example(variants[0], schemas)
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    if schema.get("type") == "object":
        required = schema.get("required", [])
        return {key: _example(schema["properties"][key], schemas) for key in required}
    if schema.get("type") in ("integer", "number"):
        return schema.get("minimum", 0)
    return _PLACEHOLDERS.get(schema.get("format", ""), "string")
