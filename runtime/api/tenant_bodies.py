"""What callers say about tenants, and what of it goes into which column."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool
from pydantic.alias_generators import to_camel

from runtime.api.limit_writes import Amount
from runtime.config.merge import merge_patch
from runtime.errors import BadRequestError
from runtime.tenants.claims import LARGEST_FIELDS, is_key

__all__ = [
    "Document",
    "Name",
    "NewTenant",
    "TenantBody",
    "TenantPatch",
    "TenantReplacement",
    "patched",
    "public_names",
]


def _key(text: str) -> str:
    if not is_key(text):
        message = "is not 1 to 255 characters without control characters, in NFC"
        raise ValueError(message)
    return text


def _name(text: str) -> str:
    return _key(unicodedata.normalize("NFC", text))


def _small(document: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(document)) > LARGEST_FIELDS:
        message = f"is larger than {LARGEST_FIELDS} bytes"
        raise ValueError(message)
    return document


Key = Annotated[str, AfterValidator(_key)]
Name = Annotated[str, AfterValidator(_name)]
Document = Annotated[dict[str, Any], AfterValidator(_small)]


class TenantBody(BaseModel):
    """What every body about a tenant may say."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    internal_id: Key | None = None
    credentials: Document | None = None
    ai_limit: Amount = Field(default=None, alias="aiCreditsRolling30DayLimit")


class TenantReplacement(TenantBody):
    """A tenant as it shall be: what is not said is empty, and its key stays."""

    name: Name
    fields: Document = Field(default_factory=dict)
    meta: Document = Field(default_factory=dict)
    is_test: StrictBool = False

    @property
    def columns(self) -> dict[str, Any]:
        """Return the columns to write."""
        columns = self.model_dump(include={"name", "fields", "meta", "is_test"})
        return columns if self.internal_id is None else {**columns, "key": self.internal_id}


class NewTenant(TenantReplacement):
    """A tenant that shall be made; it gets a key if it has none."""

    @property
    def columns(self) -> dict[str, Any]:
        """Return the columns to write."""
        return {"key": uuid.uuid4().hex, **super().columns}


class TenantPatch(TenantBody):
    """What shall change; `fields` and `meta` are merged, a null in them removes."""

    name: Name = ""
    fields: Document | None = None
    meta: Document | None = None
    is_test: StrictBool = False


def patched(before: Mapping[str, Any], patch: TenantPatch) -> dict[str, Any]:
    """Return the columns that a patch speaks of, with what it makes of them.

    Raises BadRequestError if what it is merged into would become too large.
    """
    said = patch.model_dump(include={"name", "fields", "meta", "is_test"}, exclude_unset=True)
    for name in {"fields", "meta"} & said.keys():
        said[name] = {} if said[name] is None else merge_patch(before[name], said[name])
        try:
            _small(said[name])
        except ValueError as error:
            raise BadRequestError(
                f"The tenant is not valid: /{name}: {error}",
                data={"errors": [{"path": f"/{name}", "message": str(error)}]},
            ) from None
    return said if patch.internal_id is None else {**said, "key": patch.internal_id}


def public_names(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns under the names that callers know, for the audit trail."""
    names = {"key": "internalId", "is_test": "isTest"}
    return {names.get(column, column): value for column, value in columns.items()}
