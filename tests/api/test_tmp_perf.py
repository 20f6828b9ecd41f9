import time, json
from tests.api.asking import ok
ACTION = {"name": "Say hello","type": "run-python","config": {"function": "hello", "input": {"to": {"$var": "$.input.name"}}}}
async def test_perf(platform, workspace, manager, acme, universe):
    await ok(acme.get("/actions?limit=1"))
    (t,) = await platform.rows("select id from tenants where workspace_id=%s", workspace.id)
    for layer, tid, n in (("workspace", None, 30000), ("tenant", t["id"], 10000)):
        await platform.rows("insert into elements (id, kind, layer, workspace_id, tenant_id, key, spec)"
          " select (lpad(to_hex(1700000000000 + g), 12, '0') || '7' || substr(md5(g::text || %s), 1, 19))::uuid, 'action', %s, %s, %s, %s || g, %s::jsonb from generate_series(1, %s) g returning 1 as x",
          layer, layer, workspace.id, tid, layer[0] + "k", json.dumps(ACTION), n)
    # customisations of 100k other-tenant rows on one key
    await platform.rows("analyze elements")if False else None
    async with platform.owner() as o: await o.execute("analyze elements")

    import cProfile, pstats
    for who in (manager, acme):
        await ok(who.get("/actions?limit=1000"))
        pr=cProfile.Profile(); pr.enable(); await ok(who.get("/actions?limit=1000")); pr.disable()
        pstats.Stats(pr).sort_stats("cumulative").print_stats(45)
