"""What a connection holds secret is on no record of a flow that used it."""

from __future__ import annotations

from tests.api.asking import ok
from tests.flows.test_running import START
from tests.samples import crm_workspace

_CODE = """
export default async ({ externalApiClient }) => {
  const said = JSON.stringify(await externalApiClient.get("/faults/echo"))
  console.log(said)
  throw new Error(said)
}
"""


async def test_a_node_records_no_secret(platform, workspace, flows, acme, crm):
    """An app that repeats its credentials puts them neither into a node's error nor its log."""
    await crm_workspace(platform, workspace, crm)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    connection = (await ok(acme.post("/connections", json=body), 201))["id"]
    node = {"type": "run-javascript", "config": {"code": _CODE}}
    run = await flows.start({"start": START, "a": node}, connectionId=connection)
    ended = await flows.ended(run, "failed")
    (ran,) = await flows.runs(run, "a")
    assert "x-api-key" in ran["errors"][0]["message"]
    assert "x-api-key" in ran["logs"][0]["message"]
    stored = await platform.rows("SELECT * FROM node_runs WHERE run_id = %s", run)
    stored += await platform.rows("SELECT error FROM runs WHERE id = %s", run)
    assert "crm-acme-key" not in f"{ended}{ran}{stored}"
