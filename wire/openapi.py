"""The description of an API made from its routes, their docstrings and their body structs."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from flask import Flask
from msgspec import Struct
from werkzeug.routing import Rule

from wire.problems import MEDIA_TYPE
from wire.version import version

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "_faceservice_bodies"
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
_BINARY: dict[str, Any] = {}  # OpenAPI 3.1: the media type says all
_CONVERTERS = {"int": {"type": "integer", "minimum": 0}}  # Flask's, of path variables; others are text
JSON = "application/json"


class ProblemDocument(Struct, frozen=True, kw_only=True):
    """What every refusal says (RFC 9457); some have members of their own beside these."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    pointer: str | None = None


class Mark(Struct, frozen=True, kw_only=True):
    """What a view's signature does not tell."""

    takes: Any = None  # type of the body; bytes: anything
    takes_media: str = JSON
    optional: bool = False  # the body may be left out
    gives: Any = None  # type of a JSON answer
    media: str = JSON  # of the answer
    status: int = 200
    also: Mapping[int, str] = {}  # other good statuses -> when
    query: Mapping[str, Mapping[str, Any]] = {}  # parameter -> its JSON schema


def bodies(**what: Any) -> Callable[[F], F]:
    """Decorate a view with the members of Mark, for the description only."""
    mark = Mark(**what)

    def marked(view: F) -> F:
        setattr(view, _MARK, mark)
        return view

    return marked


def describe(app: Flask) -> dict[str, Any]:
    """Return *app*'s OpenAPI 3.1 document."""
    views = {name: inspect.unwrap(view) for name, view in app.view_functions.items()}
    marks: dict[str, Mark] = {name: getattr(view, _MARK, Mark()) for name, view in views.items()}
    types = [t for mark in marks.values() for t in (mark.takes, mark.gives) if t not in (None, bytes)]
    types.append(ProblemDocument)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        operations = paths.setdefault(re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule), {})
        for method in sorted((rule.methods or set()) & set(_METHODS)):
            operations[method.lower()] = _operation(rule, views[rule.endpoint], marks[rule.endpoint], schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": app.name, "version": version()},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(rule: Rule, view: Callable[..., Any], mark: Mark, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": (inspect.getdoc(view) or view.__name__).splitlines()[0],
        "responses": _responses(mark, schema_of),
    }
    parameters = _path_parameters(rule) + [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in mark.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if mark.takes is not None:
        schema = _BINARY if mark.takes is bytes else schema_of[id(mark.takes)]
        operation["requestBody"] = {
            "required": not mark.optional,
            "content": {mark.takes_media: {"schema": schema} if schema else {}},
        }
    return operation


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    kinds = {name: kind for kind, name in re.findall(r"<(?:([^:<>]+):)?([^<>]+)>", rule.rule)}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _CONVERTERS.get(kinds[name], {"type": "string", "minLength": 1}),
        }
        for name in sorted(rule.arguments)
    ]


def _responses(mark: Mark, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    schema = {"type": "object"} if mark.gives is None else schema_of[id(mark.gives)]
    content = {mark.media: {"schema": schema} if mark.media == JSON else {}}
    found = {str(mark.status): _answer("done", mark.status, content)}
    found |= {str(status): _answer(when, status, content) for status, when in mark.also.items()}
    problem = {MEDIA_TYPE: {"schema": schema_of[id(ProblemDocument)]}}
    return found | {"default": {"description": "a problem (RFC 9457)", "content": problem}}


def _answer(description: str, status: int, content: Mapping[str, Any]) -> dict[str, Any]:
    bodiless = status in (204, 304)
    return {"description": description} if bodiless else {"description": description, "content": content}
