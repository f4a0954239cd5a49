"""Whether an answer is one that the OpenAPI document describes; the few keywords it uses."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

Json = dict[str, Any]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_SILENT = {"type", "title", "description", "default"}


class Reply(NamedTuple):
    """What came back over the wire."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Contract:
    """The document, asked about replies."""

    def __init__(self, document: Json) -> None:
        self.document = document

    def assert_conforms(self, reply: Reply) -> None:
        operation = self._operation(reply)
        if operation is None:
            assert reply.status in {404, 405, 204, 403}, f"{reply} is not in the document"
            return
        assert str(reply.status) in operation["responses"], f"{reply.status} is not described"
        self._check_answer(reply, operation["responses"][str(reply.status)])

    def violations(self, schema: Json, value: Any, at: str = "$") -> list[str]:
        """What is wrong with the value, where."""
        if "$ref" in schema:
            return self.violations(self.schema(schema["$ref"]), value, at)
        if "anyOf" in schema:
            found = [self.violations(option, value, at) for option in schema["anyOf"]]
            return (
                []
                if any(not one for one in found)
                else [problem for one in found for problem in one]
            )
        if "type" in schema and not _is_of_type(schema["type"], value):
            return [f"{at} is no {schema['type']}"]
        return [
            problem
            for keyword, wanted in schema.items()
            if keyword not in _SILENT
            for problem in self._keyword(keyword, wanted, schema, value, at)
        ]

    def schema(self, reference: str) -> Json:
        return self.document["components"]["schemas"][reference.rpartition("/")[2]]

    def _operation(self, reply: Reply) -> Json | None:
        for template, calls in self.document["paths"].items():
            pattern = re.sub(r"\\{key\\}", ".+", re.escape(template))
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", pattern)
            if re.fullmatch(pattern, reply.path):
                return calls.get(reply.method.lower())
        return None

    def _check_answer(self, reply: Reply, described: Json) -> None:
        if "content" not in described:
            assert reply.body == b"", f"{reply} has a body that is not described"
            return
        declared = reply.headers["Content-Type"].partition(";")[0]
        family = declared.partition("/")[0] + "/*"
        media = described["content"].get(declared) or described["content"].get(family)
        assert (
            media is not None or declared in described["content"] or family in described["content"]
        )
        if media:
            assert self.violations(media["schema"], reply.json()) == []

    def _keyword(self, keyword: str, wanted: Any, schema: Json, value: Any, at: str) -> list[str]:
        match keyword:
            case "enum":
                found = [] if value in wanted else [f"{at} is none of {wanted}"]
            case "pattern":
                found = [] if re.search(wanted, value) else [f"{at} is not like {wanted}"]
            case "format":
                found = [] if _is_formatted(wanted, value) else [f"{at} is no {wanted}"]
            case "minLength":
                found = [] if len(value) >= wanted else [f"{at} is too short"]
            case "maxLength":
                found = [] if len(value) <= wanted else [f"{at} is too long"]
            case "items":
                found = self._items(wanted, value, at)
            case "required":
                found = [f"{at}.{name} is missing" for name in wanted if name not in value]
            case "properties":
                found = self._properties(wanted, value, at)
            case "additionalProperties":
                found = self._additional(wanted, schema, value, at)
            case _:
                found = [f"the check knows no keyword {keyword}"]
        return found

    def _items(self, wanted: Json, value: list[Any], at: str) -> list[str]:
        return [
            problem
            for index, item in enumerate(value)
            for problem in self.violations(wanted, item, f"{at}[{index}]")
        ]

    def _properties(self, wanted: Json, value: Json, at: str) -> list[str]:
        """Stricter than JSON Schema: a field that is not described is a mistake of ours."""
        unknown = [
            f"{at}.{name} is not described" for name in value if wanted and name not in wanted
        ]
        return unknown + [
            problem
            for name, schema in wanted.items()
            if name in value
            for problem in self.violations(schema, value[name], f"{at}.{name}")
        ]

    def _additional(self, wanted: Any, schema: Json, value: Json, at: str) -> list[str]:
        extra = {
            name: one for name, one in value.items() if name not in schema.get("properties", {})
        }
        if isinstance(wanted, bool):
            return [] if wanted or not extra else [f"{at} has {sorted(extra)}"]
        return [
            problem
            for name, one in extra.items()
            for problem in self.violations(wanted, one, f"{at}.{name}")
        ]


def _is_of_type(wanted: str, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _is_formatted(name: str, value: str) -> bool:
    assert name == "date-time"
    return value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None
