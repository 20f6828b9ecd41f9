"""Elements that cannot be: each is refused with what, where and why, and nothing else is harmed."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused

ACTION = {"type": "run-python", "config": {"function": "echo"}}
CIRCLE = {
    "start": {"type": "api-trigger", "links": [{"key": "a"}]},
    "a": {"type": "filter", "links": [{"key": "b"}]},
    "b": {"type": "filter", "links": [{"key": "a"}]},
}
CONNECTOR = {
    "name": "Round",
    "apiClient": {"baseUri": "https://round.example"},
    "operations": {
        name: {
            "name": name,
            "function": {"type": "operation-mapping", "mapping": {"operationKey": other}},
        }
        for name, other in (("one", "two"), ("two", "one"))
    },
}


async def test_no_element_is_its_own_parent(manager, acme):
    """A parent is what lies below; an element neither becomes its own nor gets another one."""
    one = await ok(manager.post("/actions", json={"key": "one", **ACTION}), 201)
    two = await ok(manager.post("/actions", json={"key": "two", **ACTION}), 201)
    await refused(manager.post("/actions", json={"parentId": one["id"], "timeout": 5}), 409)
    mine = await ok(acme.post("/actions", json={"parentId": one["id"], "timeout": 5}), 201)
    row = (await ok(acme.get("/actions/one?layer=tenant")))["id"]
    assert mine["isCustomized"]
    for parent in (row, one["id"]):
        await refused(acme.post("/actions", json={"parentId": parent, "timeout": 6}), 409)
    for parent in (row, two["id"]):
        body = await refused(acme.patch("/actions/one", json={"parentId": parent}), 400)
        assert body["data"]["errors"][0]["path"] == "/parentId"
    assert (await ok(acme.get("/actions/one")))["timeout"] == 5


@pytest.mark.parametrize(
    ("plural", "body", "says"),
    [
        ("flows", {"nodes": CIRCLE}, "circle"),
        ("connectors", CONNECTOR, "circle"),
    ],
)
async def test_what_leads_round_in_a_circle_is_refused(manager, plural, body, says):
    """With the way round."""
    told = await refused(manager.post(f"/{plural}", json={"key": "round", **body}), 400)
    assert says in told["message"]
    await refused(manager.get(f"/{plural}/round"), 404)


async def test_a_specification_of_five_megabytes_is_refused(manager, acme):
    """Whole, as a patch, and as an import; what was there stays as it was."""
    made = await ok(manager.post("/actions", json={"key": "big", **ACTION}), 201)
    meta = {"meta": {f"m{number}": "x" * 1000 for number in range(5000)}}
    for asked in (
        manager.post("/actions", json={"key": "bigger", **ACTION, **meta}),
        manager.patch("/actions/big", json=meta),
        acme.patch("/actions/big", json=meta),
    ):
        answer = await asked
        assert answer.status_code in (400, 413), answer.text
        assert "1,000,000" in answer.text or answer.status_code == 413
    item = {"kind": "action", "key": "big", "spec": {**ACTION, **meta}}
    imported = await manager.post("/import", json={"items": [item]})
    if imported.status_code == 200:
        assert imported.json()["counts"] == {"refused": 1}
    else:
        assert imported.status_code == 413, imported.text
    assert (await ok(acme.get("/actions/big")))["revision"] == made["revision"]


async def test_a_change_above_that_breaks_a_customisation_is_told_at_the_element(manager, acme):
    """The tenant's element says what is wrong and whose layer says it; its others are well."""
    for key in ("one", "two"):
        await ok(manager.post("/actions", json={"key": key, **ACTION}), 201)
    await ok(acme.patch("/actions/one", json={"config": {"input": {"$var": "$.input"}}}))
    request = {"request": {"uri": "https://example.com"}}
    changed = {"type": "http-request", "config": {**request, "function": None}}
    await ok(manager.patch("/actions/one", json=changed))
    broken = await ok(acme.get("/actions/one"))
    assert broken["state"] == "CONFIGURATION_ERROR"
    assert broken["errors"][0]["path"] == "/config/input"
    assert (await ok(acme.get("/actions/two")))["state"] == "READY"
    assert (await ok(manager.get("/actions/one")))["state"] == "READY"
    await ok(acme.post("/actions/one/reset"))
    assert (await ok(acme.get("/actions/one")))["state"] == "READY"
