"""The description of an API made from its routes, their docstrings and their body structs."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from flask import Flask

from wire.version import version

F = TypeVar("F", bound=Callable[..., Any])
_BODIES = "_faceservice_bodies"
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


def bodies(*, takes: Any = None, gives: Any = None, status: int = 200) -> Callable[[F], F]:
    """Decorate a view with the types of its bodies, for the description only."""

    def mark(view: F) -> F:
        setattr(view, _BODIES, (takes, gives, status))
        return view

    return mark


def describe(app: Flask) -> dict[str, Any]:
    """Return *app*'s OpenAPI 3.1 document."""
    views = {name: inspect.unwrap(view) for name, view in app.view_functions.items()}
    marks = {name: getattr(view, _BODIES, (None, None, 200)) for name, view in views.items()}
    types = [kind for mark in marks.values() for kind in mark[:2] if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        operations = paths.setdefault(re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule), {})
        for method in sorted((rule.methods or set()) & set(_METHODS)):
            view, mark = views[rule.endpoint], marks[rule.endpoint]
            operations[method.lower()] = _operation(view, sorted(rule.arguments), mark, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": app.name, "version": version()},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    view: Callable[..., Any], arguments: list[str], mark: tuple[Any, Any, int], schema_of: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    takes, gives, status = mark
    answer: dict[str, Any] = {"description": "done"}
    if gives is not None:
        answer["content"] = {"application/json": {"schema": schema_of[id(gives)]}}
    operation: dict[str, Any] = {
        "summary": (inspect.getdoc(view) or view.__name__).splitlines()[0],
        "responses": {str(status): answer, "default": {"description": "a problem (RFC 9457)"}},
    }
    if arguments:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in arguments
        ]
    if takes is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[id(takes)]}}}
    return operation
