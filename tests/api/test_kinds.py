"""Data sources, mappings, flows, schemas, event types and packages are elements like others."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused

#: Kind in the plural -> what one may be made of, and a change of it.
KINDS = {
    "data-sources": ({"collectionKey": "deals"}, {"pullUpdatesIntervalSeconds": 600}),
    "field-mappings": (
        {"importValue": {"title": {"$var": "$.fields.title"}}},
        {"importValue": {"amount": {"$var": "$.fields.amount"}}},
    ),
    "flows": (
        {
            "nodes": {
                "start": {"type": "api-trigger", "links": [{"key": "end"}]},
                "end": {"type": "filter"},
            }
        },
        {"enabled": False},
    ),
    "app-data-schemas": ({"schema": {"type": "object"}}, {"schema": {"description": "A deal."}}),
    "app-event-types": (
        {"tenantIdFormula": {"$var": "$.customer"}},
        {"example": {"customer": "a"}},
    ),
    "data-link-tables": ({}, {"description": "Contacts."}),
    "packages": (
        {"elements": [{"type": "data-link-table", "key": "deals", "element": {}}]},
        {"description": "Deals."},
    ),
}
ADAPTED = ("data-sources", "field-mappings", "flows")


@pytest.mark.parametrize("plural", KINDS)
async def test_a_life(plural, manager, acme, globex):
    """A manager makes, changes, archives and restores one; tenants read it and make none of those
    that live in the workspace only."""
    spec, change = KINDS[plural]
    made = await ok(manager.post(f"/{plural}", json={"key": "one", "name": "One", **spec}), 201)
    assert made["state"] == "READY", made
    for caller in (acme, globex, manager):
        read = await ok(caller.get(f"/{plural}/one"))
        assert (read["id"], read["name"], read["layer"]) == (made["id"], "One", "workspace")
        listed = await ok(caller.get(f"/{plural}"))
        assert [item["key"] for item in listed["items"]] == ["one"]
    singular = plural[:-1]
    assert (await ok(acme.get(f"/{singular}?key=one")))["id"] == made["id"]
    changed = await ok(manager.patch(f"/{plural}/one", json=change))
    assert changed["revision"] != made["revision"]
    stale = {"if-match": f'"{made["revision"]}"'}
    answer = await manager.patch(f"/{plural}/one", json=change, headers=stale)
    assert answer.status_code in (409, 412), answer.text
    await refused(manager.post(f"/{plural}", json={"key": "one", **spec}), 409, "already_exists")
    await ok(manager.delete(f"/{plural}/one"))
    await refused(acme.get(f"/{plural}/one"), 404)
    await ok(manager.post(f"/{plural}/one/restore"))
    await ok(acme.get(f"/{plural}/one"))
    if plural not in ADAPTED:
        answer = await acme.post(f"/{plural}", json={"key": "mine", **spec})
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("plural", ADAPTED)
async def test_tenants_adapt_their_own(plural, manager, acme, globex):
    """What a tenant changes is in force for that tenant alone, and a reset takes it back."""
    spec, change = KINDS[plural]
    made = await ok(manager.post(f"/{plural}", json={"key": "one", **spec}), 201)
    mine = await ok(acme.patch(f"/{plural}/one", json=change))
    assert (mine["layer"], mine["isCustomized"]) == ("tenant", True)
    theirs = await ok(globex.get(f"/{plural}/one"))
    assert (theirs["isCustomized"], theirs["revision"]) == (False, made["revision"])
    compared = await ok(acme.get(f"/{plural}/one/diff?from=workspace&to=effective"))
    assert compared["items"], compared
    back = await ok(acme.post(f"/{plural}/one/reset"))
    assert back["isCustomized"] is False
    own = await ok(acme.post(f"/{plural}", json={"key": "own", **spec}), 201)
    assert own["layer"] == "tenant"
    await refused(globex.get(f"/{plural}/own"), 404)


@pytest.mark.parametrize(
    ("plural", "spec", "path", "says"),
    [
        ("data-sources", {}, "/", "give collectionKey or udm"),
        ("data-sources", {"collectionKey": "deals", "fullSyncIntervalSeconds": 5}, "", "60"),
        ("field-mappings", {"importValue": {"a": {"$frob": 1}}}, "/importValue/a", "$frob"),
        ("field-mappings", {"appSchema": {"type": "thing"}}, "/appSchema", "type"),
        ("app-data-schemas", {}, "/schema", "required"),
        ("app-event-types", {"tenantIdFormula": {"$var": 5}}, "/tenantIdFormula/$var", "locator"),
        ("packages", {"elements": [{"type": "house", "key": "x"}]}, "/elements/0/type", ""),
        ("flows", {"nodes": {"a": {"type": "dance"}}}, "/nodes/a", "no type of node"),
        (
            "flows",
            {"nodes": {"a": {"type": "filter", "links": [{"key": "b"}]}}},
            "/nodes/a/links/0",
            "leads to 'b', which is no node",
        ),
        (
            "flows",
            {
                "nodes": {
                    "t": {"type": "api-trigger", "links": [{"key": "a"}]},
                    "a": {"type": "filter", "links": [{"key": "b"}]},
                    "b": {"type": "filter", "links": [{"key": "c"}]},
                    "c": {"type": "filter", "links": [{"key": "a"}]},
                    "d": {"type": "filter"},
                }
            },
            "/nodes/",
            "in a circle",
        ),
        (
            "flows",
            {
                "nodes": {
                    "a": {"type": "filter", "links": [{"key": "t"}]},
                    "t": {"type": "api-trigger"},
                }
            },
            "/nodes/a/links/0",
            "a trigger follows nothing",
        ),
        (
            "flows",
            {
                "nodes": {
                    "a": {"type": "filter", "links": [{"key": "b", "filter": {"$frob": 1}}]},
                    "b": {"type": "filter"},
                }
            },
            "/nodes/a/links/0/filter",
            "$frob",
        ),
    ],
)
async def test_what_cannot_work_is_refused_with_its_place(manager, plural, spec, path, says):
    """The error of a bad specification names where in it the fault is, and what it is."""
    body = await refused(manager.post(f"/{plural}", json={"key": "bad", **spec}), 400)
    (first, *_) = body["data"]["errors"]
    assert first["path"].startswith(path), body
    assert says in first["message"], body
