"""What cannot be an element is refused with its path, and never breaks anything."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.api.samples import ACTION


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"colour": "red"}, "/colour"),
        ({"input_schema": {}}, "/input_schema"),
        ({"type": "run-magic"}, "/"),
        ({"config": {"function": "f", "colour": 1}}, "/config/colour"),
        ({"config": {"function": ["f"]}}, "/config/function"),
        ({"config": {"function": "f", "input": {"a": {"$nope": 1}}}}, "/config/input/a"),
        ({"outputMapping": {"a": {"$var": 3}}}, "/outputMapping/a"),
        ({"cost": {"ai": {"$jsonata": "1"}}}, "/cost/ai"),
        ({"inputSchema": {"type": "objekt"}}, "/inputSchema/type"),
        ({"inputSchema": {"properties": {"a": {"pattern": "x"}}}}, "/inputSchema/properties/a"),
        ({"timeout": -1}, "/timeout"),
        ({"name": "a\x00b"}, "/name"),
        ({"meta": {"a\x00": 1}}, "/meta/a"),
    ],
)
async def test_a_faulty_specification_names_the_path(manager, change, path):
    """An unknown field, a broken formula or schema is 400 with its path, made or patched."""
    await ok(manager.post("/actions", json=ACTION), 201)
    for asked in (
        manager.post("/actions", json={**ACTION, "key": "other", **change}),
        manager.patch("/actions/say-hello", json=change),
        manager.put("/actions/say-hello", json={**ACTION, **change}),
    ):
        body = await ok(asked, 400)
        assert (body["type"], body["data"].get("layer", "workspace")) == (
            "configuration",
            "workspace",
        )
        assert any(each["path"].startswith(path) for each in body["data"]["errors"]), body
        assert all(each["message"] for each in body["data"]["errors"])
    await refused(manager.get("/actions/other"), 404)


@pytest.mark.parametrize("key", ["", "a.b", "a b", "ä", "-a", "x" * 101, 7, {}])
async def test_a_key_that_cannot_be_one_is_refused(manager, key):
    """Keys have letters, digits, hyphens and underscores."""
    await refused(manager.post("/actions", json={**ACTION, "key": key}), 400)


async def test_bad_requests_get_clear_answers(manager, acme):
    """Broken JSON, wrong types, absurd selectors and depths: each its own error, none a 500."""
    made = await ok(manager.post("/actions", json=ACTION), 201)
    raw = manager.post("/actions", content=b'{"name": ', headers={"content-type": "text/plain"})
    await refused(raw, 400)
    await refused(manager.post("/actions", json=[ACTION]), 400)
    await refused(manager.post("/actions", json={}), 400)
    deep = "[" * 900 + "]" * 900
    content = f'{{"name": "deep", "meta": {{"a": {deep}}}}}'
    await ok(manager.post("/actions", content=content), 400)
    await ok(manager.patch("/actions/say-hello", content=content), 400)
    await ok(acme.patch("/actions/say-hello", content=content), 400)
    large = {**ACTION, "key": "large", "description": "x" * 1_100_000}
    await refused(manager.post("/actions", json=large), 400)
    await refused(manager.get("/actions/%00"), 400)
    for selector in ("a.b.c", "x" * 500, "%ff", "0", "' OR 1=1 --"):
        await refused(manager.get(f"/actions/{selector}"), 404)
    await refused(manager.get("/action"), 400)
    await refused(manager.get("/actions?search=%00"), 400)
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=abc", "parentId=x", "layer=attic"):
        await refused(manager.get(f"/actions?{query}"), 400)
    await ok(manager.get("/actions?limit=1000&whatever=1&search=&instanceKey=&arr=a,b"))
    for name, value in (("key", "other"), ("tenantId", made["id"]), ("parentId", made["id"])):
        body = await refused(manager.patch("/actions/say-hello", json={name: value}), 400)
        assert body["data"]["errors"][0]["path"] == f"/{name}"
