"""What all parts of a connector's specification are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

import jsonschema
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.connectors.placeholders import check_base

__all__ = [
    "BaseUri",
    "Compute",
    "Formula",
    "HeaderName",
    "JsonSchema",
    "Key",
    "RelativePath",
    "Spec",
    "TemplatePath",
]

_CONTROL = re.compile(r"[\x00-\x20\x7f\\#]")


class Spec(BaseModel):
    """A part of a specification: camelCase, nothing unknown, never changed."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    fault = _schema_fault(orjson.dumps(value))
    if fault:
        raise ValueError(f"is not a JSON Schema: {fault}")
    return value


@lru_cache(maxsize=1024)
def _schema_fault(text: bytes) -> str:
    """Return what is wrong with a schema; remembered, because a look takes 300 µs."""
    try:
        jsonschema.Draft202012Validator.check_schema(orjson.loads(text))
    except jsonschema.SchemaError as error:
        return error.message[:200]
    return ""


def _relative(value: str) -> str:
    if not value.startswith("/") or value.startswith("//"):
        raise ValueError("must start with one /")
    return value


def _template_path(value: str) -> str:
    _relative(value)
    if _CONTROL.search(value) or "?" in value:
        raise ValueError("must be a plain path such as /deals/{id}; what is asked goes into query")
    return value


BaseUri = Annotated[str, AfterValidator(check_base)]
#: Configuration that is computed for each call; a connector's formulas are checked when it is
#: saved, by who knows formulas.
Formula = Any
#: Evaluates a formula over named values; None for what comes out undefined.
Compute = Callable[[Formula, Mapping[str, Any]], Any]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
JsonSchema = Annotated[dict[str, Any], AfterValidator(_schema)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
RelativePath = Annotated[str, AfterValidator(_relative)]
#: A path that may hold `{name}`s.
TemplatePath = Annotated[str, Field(max_length=2000), AfterValidator(_template_path)]
