"""Fields of a mapping that the workspace froze: a tenant adapts the others."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused

MAPPING = {
    "key": "people",
    "importValue": {"id": {"$var": "$.id"}, "name": {"first": "a", "last": "b"}, "note": "x"},
    "defaultExportValue": {"email": {"$var": "$.input.email"}, "name": "y"},
    "frozenImportFields": ["id", "/name/first"],
    "frozenExportFields": ["email"],
}


@pytest.fixture
async def mapping(manager):
    """A mapping of which some fields are frozen."""
    await ok(manager.post("/field-mappings", json=MAPPING), 201)
    return "/field-mappings/people"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"importValue": {"id": "mine"}}, "/importValue/id"),
        ({"importValue": {"id": None}}, "/importValue/id"),
        ({"importValue": {"name": {"first": "z"}}}, "/importValue/name/first"),
        ({"importValue": {"$var": "$.fields"}}, "/importValue/id"),
        ({"exportValue": {"name": "z"}}, "/exportValue/email"),
        ({"frozenImportFields": []}, "/frozenImportFields"),
    ],
)
async def test_a_frozen_field_stays(mapping, acme, change, path):
    """By whatever change; the path is named, and nothing is written."""
    body = await refused(acme.patch(mapping, json=change), 403, "access_denied")
    assert body["data"]["path"] == path
    assert not (await ok(acme.get(mapping)))["isCustomized"]


async def test_other_fields_are_the_tenants(mapping, acme, manager):
    """Also more of them; and the workspace changes what it froze."""
    change = {"importValue": {"note": "mine", "name": {"last": "c"}, "more": 1}}
    shown = await ok(acme.patch(mapping, json=change))
    assert shown["importValue"]["name"] == {"first": "a", "last": "c"}
    email = {"email": {"$var": "$.input.email"}, "name": "mine"}
    await ok(acme.patch(mapping, json={"exportValue": email}))
    await ok(manager.patch(mapping, json={"importValue": {"id": "other"}}))
    assert (await ok(acme.get(mapping)))["importValue"]["id"] == "other"
