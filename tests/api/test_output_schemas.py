"""What an action gives back, as its page says before it has ever run."""

from __future__ import annotations

from tests.api.asking import ok
from tests.samples import crm_workspace

RECORDS = {"$var": "$.output.records"}


async def test_the_schema_of_an_actions_output(platform, workspace, manager, acme, crm):
    """The author's wins, then the output mapping's, then the type's; a data source is looked up."""
    await crm_workspace(platform, workspace, crm)
    source = {"key": "people", "collectionKey": "contacts"}
    await ok(manager.post("/data-sources", json=source), 201)
    body = {
        "key": "list-people",
        "type": "list-data-records",
        "integrationKey": "crm",
        "config": {"dataSource": {"key": "people"}},
    }
    await ok(manager.post("/actions", json=body), 201)
    path = "/integrations/crm/actions/list-people"
    plain = await ok(acme.get(path))
    default = plain["defaultOutputSchema"]
    fields = default["properties"]["records"]["items"]["properties"]["fields"]
    assert "email" in fields["properties"]
    assert plain["outputSchema"] == default
    assert "transformedOutputSchema" not in plain
    names = {"$iterate": {"source": RECORDS, "item": {"$var": "$.item.fields.email"}}}
    await ok(manager.patch(path, json={"outputMapping": {"emails": names}}))
    mapped = await ok(acme.get(path))
    assert mapped["outputSchema"] == mapped["transformedOutputSchema"]
    emails = mapped["outputSchema"]["properties"]["emails"]
    assert emails == {"type": "array", "items": fields["properties"]["email"]}
    await ok(manager.patch(path, json={"customOutputSchema": {"type": "object"}}))
    custom = await ok(acme.get(path))
    assert custom["outputSchema"] == {"type": "object"}
    assert custom["transformedOutputSchema"] == mapped["transformedOutputSchema"]
    again = await ok(manager.put(path, json=await ok(manager.get(path))))
    assert again["outputSchema"] == {"type": "object"}
