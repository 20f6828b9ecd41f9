"""Every route, asked for acme's things by those who must not know that acme exists."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import psycopg
import pytest
import uuid_utils.compat

from runtime.api.app import create_app
from runtime.config.kinds import KINDS
from runtime.settings import Settings
from runtime.webhooks.secrets import add_secret
from tests.isolation.routes import ASKS, ENDLESS, KEYED, OPEN, OWNED, SHARED, SPECS, Ask, routes_of
from tests.isolation.seeds import TABLES, Seed, insert, values_for
from tests.samples import add_element, crm_workspace

CANARY = "canary-acme"
TENANT = f"{CANARY}-tenant"
ROUTES = sorted(routes_of(create_app(Settings())))

#: Kinds of which the workspace shares an element that nothing else makes.
_MORE = [name for name in KINDS if name not in ("action", "integration", "connector")]
#: Kinds of which tenants have elements of their own.
_ADAPTED = [name for name, kind in KINDS.items() if "tenant" in kind.layers]
_SHARED_NAMES = {
    name: ("shared_" if name in _ADAPTED else "") + name.replace("-", "_") for name in KINDS
}

#: What is kept of events: name -> table, and what makes it one of its kind.
_HEARD = {
    "subscription": ("external_subscriptions", {}),
    "app_event": ("events", {"source": "app", "payload": json.dumps(CANARY)}),
    "external_event": ("events", {"source": "external", "payload": json.dumps(CANARY)}),
    "app_event_subscription": ("app_event_subscriptions", {}),
    "incoming_webhook": ("incoming_webhooks", {}),
    "pull": ("external_pulls", {"status": "success"}),
}

#: Answers that mean "there is no such thing" or "that is not for you".
_NO = {403, 404}


class Shop:
    """Acme's workspace, and who asks for what is acme's."""

    def __init__(self, platform, services, elements, acme, callers, workspace_key):
        self._platform = platform
        self._services = services
        #: The rows of what the workspace shares with its tenants.
        self._elements = elements
        self._acme = acme
        self._workspace_key = workspace_key
        #: acme itself and its manager, then those who must not see anything.
        self.callers = callers

    async def things(self) -> dict[str, list[str]]:
        """Make new things of acme's, and return the names of each: its id, and its key if any."""
        tag = f"{CANARY}-{uuid.uuid4().hex[:8]}"
        shared = {
            _SHARED_NAMES.get(row["kind"], row["kind"]): [str(row["id"]), row["key"]]
            for row in self._elements
        }
        rows = {"elements": {"id": shared["integration"][0]}}
        special = {
            "connections": {"key": f"{tag}-connection"},
            "elements": {
                "kind": "action",
                "key": f"{tag}-action",
                "spec": {"name": CANARY, "type": "run-python", "config": {"function": "echo"}},
            },
            "runs": {"kind": "action"},
            "activity_records": {"tag": "action:run:completed", "status": "completed"},
            "usage_records": {"resource": f"{tag}-units"},
            "limits": {"resource": f"{tag}-units", "scope": "tenant", "window_seconds": 60},
            "caps": {"scope": "element", "subject_id": uuid.uuid4()},
        }
        with psycopg.connect(self._platform.owner_url, autocommit=True) as connection:
            self._mend(connection)
            for table, columns in special.items():
                row = values_for(TABLES[table], self._acme, rows) | columns
                if table == "activity_records":
                    row["run_id"] = rows["runs"]["id"]
                insert(connection, table, row)
                rows[table] = row
            own = {
                kind: values_for(TABLES["elements"], self._acme, rows)
                | {"kind": kind, "key": f"{tag}-{kind}", "spec": {"name": CANARY, **SPECS[kind]}}
                for kind in _ADAPTED
                if kind != "action"
            }
            for row in own.values():
                insert(connection, "elements", row)
            instances = {
                f"{row['kind']}-instance": self._instance(row, rows, shared, tag)
                for row in self._elements
                if KINDS[row["kind"]].instances is not None
            }
            for row in instances.values():
                insert(connection, "elements", row)
            whole = Seed("shop", self._acme.workspace)
            limit = values_for(TABLES["limits"], whole, rows) | {
                "resource": f"shared-{uuid.uuid4().hex[:8]}"
            }
            insert(connection, "limits", limit)
            cap = values_for(TABLES["caps"], whole, rows) | special["caps"]
            insert(connection, "caps", cap)
            dead = values_for(TABLES["runs"], self._acme, rows) | special["runs"]
            dead |= {"status": "failed", "dead_reason": "failed", "queue": "default"}
            insert(connection, "runs", dead)
            flow_run = values_for(TABLES["runs"], self._acme, rows) | {
                "kind": "flow",
                "status": "failed",
                "queue": "default",
                "element_id": own["flow"]["id"],
                "element_key": own["flow"]["key"],
                "request": {
                    "startNodeKey": "start",
                    "launchedBy": {"type": "api-trigger"},
                    "definition": json.dumps({"nodes": SPECS["flow"]["nodes"]}),
                },
            }
            insert(connection, "runs", flow_run)
            node_run = values_for(TABLES["node_runs"], self._acme, rows) | {
                "run_id": flow_run["id"],
                "node_key": "start",
                "status": "completed",
                "outputs": json.dumps([CANARY]),
            }
            insert(connection, "node_runs", node_run)
            heard = {}
            for name, (table, columns) in _HEARD.items():
                row = values_for(TABLES[table], self._acme, {**rows, **heard}) | columns
                if name == "app_event_subscription":
                    row |= {"type_id": shared["app_event_type"][0], "instance_key": tag}
                if name == "external_event":
                    row["subject_id"] = heard["external_subscriptions"]["id"]
                insert(connection, table, row)
                heard[table if name == "subscription" else name] = row
            schedule = values_for(TABLES["schedules"], self._acme, rows) | {
                "kind": "flow",
                "element_id": own["flow"]["id"],
                "element_key": own["flow"]["key"],
                "node_key": "start",
                "timing": {"intervalMinutes": 60},
            }
            insert(connection, "schedules", schedule)
            endpoint = values_for(TABLES["webhook_endpoints"], whole, rows) | {
                "url": f"https://{CANARY}.example.com"
            }
            insert(connection, "webhook_endpoints", endpoint)
            delivery = values_for(
                TABLES["webhook_deliveries"],
                self._acme,
                {**rows, "webhook_endpoints": endpoint},
            ) | {"status": "delivered"}
            insert(connection, "webhook_deliveries", delivery)
            alert = values_for(TABLES["alerts"], self._acme, rows) | {"subject": tag}
            insert(connection, "alerts", alert)
        async with self._platform.owner() as owner:
            await add_secret(
                owner,
                self._platform.vault,
                self._acme.workspace,
                endpoint["id"],
                f"{CANARY}-secret",
            )
        self._services.changed(self._acme.workspace)
        return {
            **shared,
            **{kind.replace("-", "_"): [str(row["id"]), row["key"]] for kind, row in own.items()},
            **{name.replace("-", "_"): [str(row["id"])] for name, row in instances.items()},
            "tenant": [str(self._acme.tenant), TENANT],
            "workspace": [str(self._acme.workspace), self._workspace_key],
            "action": [str(rows["elements"]["id"]), rows["elements"]["key"]],
            "connection": [str(rows["connections"]["id"]), rows["connections"]["key"]],
            "run": [str(rows["runs"]["id"])],
            "dead": [str(dead["id"])],
            "flow_run": [str(flow_run["id"])],
            "node_run": [str(node_run["id"])],
            "schedule": [str(schedule["id"])],
            "record": [str(rows["activity_records"]["id"])],
            "subscription": [str(heard["external_subscriptions"]["id"])],
            **{name: [str(heard[name]["id"])] for name in _HEARD if name != "subscription"},
            "limit": [str(rows["limits"]["id"])],
            "shared_limit": [str(limit["id"])],
            "cap": [str(rows["caps"]["id"])],
            "shared_cap": [str(cap["id"])],
            "webhook_endpoint": [str(endpoint["id"])],
            "webhook_delivery": [str(delivery["id"])],
            "alert": [str(alert["id"])],
        }

    def _instance(self, parent, rows, shared, tag) -> dict[str, Any]:
        """Return the row of acme's instance of an element that the workspace shares."""
        layer = KINDS[parent["kind"]].instances
        place = {"layer": layer, "instance_key": tag, "parent_id": parent["id"]}
        if layer == "connection":
            place["connection_id"] = rows["connections"]["id"]
            place["integration_id"] = shared["integration"][0]
        return values_for(TABLES["elements"], self._acme, rows) | {
            **{name: parent[name] for name in ("kind", "key", "app")},
            "spec": {"description": CANARY},
            **place,
        }

    def _mend(self, connection) -> None:
        """Undo what acme and its manager did to themselves when they were asked last."""
        for row in self._elements:
            connection.execute(
                "UPDATE elements SET archived_at = NULL, key = %s, spec = %s WHERE id = %s",
                (row["key"], json.dumps(row["spec"]), row["id"]),
            )
        connection.execute(
            "UPDATE tenants SET archived_at = NULL WHERE id = %s", (self._acme.tenant,)
        )
        whole = Seed("shop", self._acme.workspace)
        connection.execute(
            "DELETE FROM element_versions WHERE workspace_id = %s", (whole.workspace,)
        )
        for kind, key in (("connector", "crm"), ("package", "shared-package")):
            row = values_for(TABLES["element_versions"], whole, {})
            row |= {"kind": kind, "key": key, "version": "1.0.0"}
            row["spec"] = {"name": CANARY, "elements": []}
            insert(connection, "element_versions", row)


@pytest.fixture(scope="module")
async def shop(platform, app, worker, crm, make_workspaces):
    """Two workspaces; acme and globex share one of them."""
    mine, other = await make_workspaces(), await make_workspaces()
    await crm_workspace(platform, mine, crm)
    for kind in _MORE:
        await add_element(platform, mine.id, kind, f"shared-{kind}", SPECS[kind])
    callers = {
        "acme": await mine.tenant(TENANT, f"Acme {CANARY}"),
        "manager": await mine.manager(),
        "globex": await mine.tenant("globex", "Globex"),
        "acme of another workspace": await other.tenant("acme", "Acme"),
        "manager of another workspace": await other.manager(),
    }
    for caller in callers.values():
        assert (await caller.get("/runs")).status_code == 200  # now there are the tenants
    (acme,) = await platform.rows(
        "SELECT id FROM tenants WHERE workspace_id = %s AND key = %s", mine.id, TENANT
    )
    elements = await platform.rows("SELECT * FROM elements WHERE workspace_id = %s", mine.id)
    services = app.state.services
    return Shop(platform, services, elements, Seed("acme", mine.id, acme["id"]), callers, mine.key)


STRANGERS = ["globex", "acme of another workspace", "manager of another workspace"]


def _blanks(ask: Ask) -> set[str]:
    return set(re.findall(r"{(\w+)}", ask.path + json.dumps(ask.body)))


def _kind(blank: str) -> str:
    return blank.removesuffix("_id").removesuffix("_key")


def _names(ask: Ask, things: dict[str, list[str]], which: int) -> dict[str, str]:
    """Return what stands in each pair of braces: an id for which=0, a key for which=-1."""
    fixed = {"id": 0, "key": -1}
    return {
        blank: things[_kind(blank)][fixed.get(blank.rpartition("_")[2], which)]
        for blank in _blanks(ask)
    }


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda match: names[match[1]], value)
    if isinstance(value, dict):
        return {key: _filled(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, names) for member in value]
    return value


def _made_up(name: str) -> str:
    """Return a name of the same shape that nothing has."""
    try:
        uuid.UUID(name)
    except ValueError:
        return f"none-{uuid.uuid4().hex[:8]}"
    return str(uuid_utils.compat.uuid7())


async def _asked(caller, method: str, ask: Ask, names: dict[str, str]):
    body = _filled(ask.body, names)
    return await caller.request(
        method, _filled(ask.path, names), **({} if body is None else {"json": body})
    )


def _anonymous(answer, names: dict[str, str]) -> tuple[int, str]:
    """Return the answer without what the caller itself said, and without the request's own id."""
    text = answer.text
    for name in sorted(names.values(), key=len, reverse=True):
        text = text.replace(name, "…")
    return answer.status_code, re.sub(r'"requestId":"[^"]+"', "", text)


def test_every_route_is_described():
    """Each route of the API is one that these tests know how to ask, and there is no other."""
    assert set(ROUTES) == set(ASKS) | OPEN | KEYED


@pytest.mark.parametrize("route", [route for route in ROUTES if route in ASKS])
async def test_a_strangers_question_is_one_about_nothing(shop, route):
    """Asked for acme's things, each route answers a stranger as if they did not exist.

    That is: with 404 (or 403, where tenants have no business), with the very words that it has for
    a name that was made up, and with nothing of acme's in them. Acme or its manager, asked last
    because some routes remove what they are asked for, does get an answer.
    """
    method, things = route.partition(" ")[0], await shop.things()
    questions = [
        (method, ask, _names(ask, things, which)) for ask in ASKS[route] for which in (0, -1)
    ]
    for question in questions:
        for who in STRANGERS:
            await _check_stranger(shop, who, question, things)
    for question in questions[::2] if route not in ENDLESS else ():
        await _check_owner(shop, question)


async def _check_stranger(shop, who, question, things) -> None:
    method, ask, real = question
    # What the workspace shares is no secret from globex.
    hidden = {blank for blank in real if _kind(blank) in OWNED or who != "globex"}
    if not hidden and not ask.lists:
        return
    invented = {blank: _made_up(name) if blank in hidden else name for blank, name in real.items()}
    told = await _asked(shop.callers[who], method, ask, real)
    about_nothing = await _asked(shop.callers[who], method, ask, invented)
    what = f"{method} {_filled(ask.path, real)} {ask.body} as {who}: {told.text}"
    assert told.status_code in _NO or (ask.lists and told.status_code < 300), what
    if hidden:
        assert _anonymous(told, real) == _anonymous(about_nothing, invented), what
    shown = _anonymous(told, real)[1] + str(dict(told.headers))
    named = {_kind(blank) for blank in real}
    secrets = [CANARY, *(name for kind in OWNED - named for name in things[kind])]
    assert not [secret for secret in secrets if secret in shown], what


async def _check_owner(shop, question) -> None:
    """See that the question was a good one: somebody of acme's gets more than a no."""
    method, ask, real = question
    answers = [await _asked(shop.callers[who], method, ask, real) for who in ("acme", "manager")]
    good = [
        answer
        for answer in answers
        if answer.status_code not in _NO or "is defined at the" in answer.text
    ]
    assert good, [method, ask, *(answer.text for answer in answers)]
    assert all(answer.status_code < 500 for answer in answers), [a.text for a in answers]


@pytest.mark.parametrize("route", ROUTES)
async def test_without_a_token_nothing_is_said(shop, anonymous, route):
    """Each route but the few that are open answers 401 without a token, whatever is asked."""
    method, path = route.split(" ")
    answer = await anonymous.request(method, re.sub(r"{\w+}", "x", path))
    if route in OPEN:
        assert answer.status_code == 200
        return
    if route in KEYED:
        assert answer.status_code == 404
        assert "x" not in answer.json()["message"].split()
        return
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    body = answer.json()
    assert (body["type"], body["key"]) == ("bad_request", "not_authenticated")
    assert body["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path",
    [
        "/connections",
        "/runs",
        "/actions",
        "/activity",
        "/action-run-logs",
        "/limits",
        "/caps",
        "/schedules",
        "/usage",
        "/alerts",
    ],
)
async def test_lists_hold_ones_own(shop, path):
    """A list that shows acme's canary to acme shows it to nobody else."""
    await shop.things()
    path += "?limit=1000"  # what other tests left in the catalogue is on the first page too
    assert CANARY in (await shop.callers["acme"].get(path)).text
    assert CANARY in (await shop.callers["manager"].get(path)).text or path.startswith("/actions")
    for who in STRANGERS:
        answer = await shop.callers[who].get(path)
        assert answer.status_code == 200
        body = answer.json()
        # What acme's manager copied to the workspace is there for all of its tenants.
        seen = [each for each in body.get("items", [body]) if each.get("layer") != "workspace"]
        assert CANARY not in json.dumps(seen), who


def test_the_vocabulary_is_complete():
    """The words in braces are those that tests know how to fill."""
    blanks = {blank for asks in ASKS.values() for ask in asks for blank in _blanks(ask)}
    assert {_kind(blank) for blank in blanks} <= OWNED | SHARED
