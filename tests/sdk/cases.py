"""What the published client is asked, call by call, and what each call has to come to.

Every accessor of the client stands here, or in BROWSER or NOT_OFFERED. The page
`docs/reference/javascript-client.md` is written from these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BROWSER", "CASES", "DIFFERS", "INTERNAL", "NOT_OFFERED", "Case", "Failure"]

Expected = Any


@dataclass(frozen=True)
class Failure:
    """An error that the client must throw: the `key` or, where there is none, the `type`."""

    key: str


@dataclass(frozen=True)
class Case:
    """One call: `client.<path>.<method>(*arguments)`, and what has to come of it."""

    path: tuple[Any, ...]
    method: str
    arguments: tuple[Any, ...] = ()
    #: What the answer must contain, a predicate, or a Failure.
    expect: Expected = None
    who: str = "acme"
    save: str | None = None
    #: States until which the call is made again.
    until: tuple[str, ...] = ()

    @property
    def accessor(self) -> str:
        """Return which accessor this calls, such as `connection.flow.run`."""
        steps = [step if isinstance(step, str) else step[0] for step in self.path]
        return ".".join([*steps, self.method])

    def wire(self) -> dict[str, Any]:
        """Return the case as the driver takes it."""
        path = [[step] if isinstance(step, str) else list(step) for step in self.path]
        return {
            "as": self.who,
            "path": path,
            "method": self.method,
            "arguments": list(self.arguments),
            "save": self.save,
            "until": list(self.until) or None,
        }


#: What only works inside a browser's page: it opens Membrane's own frames and windows.
BROWSER = frozenset(
    {
        *("open", "connect", "integration.open", "integration.openNewConnection"),
        *("integration.openNewConnectionV2", "integration.connect", "integration.createConnection"),
        *("connection.reconnect", "connection.openReconnectUI", "actionInstance.open"),
        *("connection.flow.openConfiguration", "connection.flow.openEditor"),
        "connection.dataSource.openConfiguration",
        "connection.fieldMapping.openConfiguration",
        *("flowInstance.openConfiguration", "flowInstance.openEditor", "flowInstance.embedEditor"),
        *("dataSourceInstance.openConfiguration", "fieldMappingInstance.openConfiguration"),
        *("flowRun.openEditor", "flowRun.embedEditor", "createEventSource"),
        *("ui.connect", "ui.connection", "ui.UNSAFE_agentSession"),
        *("getEmbedUri", "getScreensEmbedUri", "getScreensPostData"),
    }
)
#: What the client does by itself, without an API.
INTERNAL = (
    *("getPath", "getUniqueIdentifier", "getSelector", "getId", "uri", "getProxyPath"),
    *("getToken", "mintToken", "makeApiRequest", "log", "handleRequestError", "retrieveLogs"),
)
#: Accessor -> why there is nothing behind it.
NOT_OFFERED: Mapping[str, str] = {}
_LEGACY = "An endpoint of the connector's own is an operation here: the one of that key is run."
#: Accessor -> in what it does something else than Membrane's, though it works.
DIFFERS: Mapping[str, str] = {
    "flowInstance.updateToLatestFlow": (
        "An instance always follows its flow, in all that it does not change itself; so this only"
        " returns it."
    ),
    "connection.request": _LEGACY,
    "connectionRequest": _LEGACY,
    "screens.create": "A screen is kept; Vesicle has no page that shows it.",
    "dataSourceInstance.findRecords": (
        "The older `find`: a text is searched for, an object lists the records with these fields."
    ),
}

_NAME, _OTHER = "Made by the client", "changed"


def _has(*ids: str) -> Callable[[Any, Callable[[Any], Any]], bool]:
    """Expect a page that has these items, by id."""

    def check(value: Any, filled: Callable[[Any], Any]) -> bool:
        items = value if isinstance(value, list) else value["items"]
        return {filled(each) for each in ids} <= {item["id"] for item in items}

    return check


def _only(*ids: str) -> Callable[[Any, Callable[[Any], Any]], bool]:
    """Expect a page with exactly these items."""

    def check(value: Any, filled: Callable[[Any], Any]) -> bool:
        items = value if isinstance(value, list) else value["items"]
        return sorted(filled(each) for each in ids) == sorted(item["id"] for item in items)

    return check


def _where(test: Callable[[Any], bool]) -> Callable[[Any, Callable[[Any], Any]], bool]:
    """Expect an answer of which something is true."""
    return lambda value, _: test(value)


def _element(
    many: str, one: str, spec: dict[str, Any], *, selects: bool = False, who: str = "manager"
) -> Iterator[Case]:
    """Yield what can be asked of a kind of element; `selects` by an object too."""
    key = f"sdk-{one.lower()}"
    new = {"key": key, "name": _NAME, "description": "first", **spec}
    yield Case((many,), "create", (new,), {"key": key, "name": _NAME}, who, one)
    this = f"<{one}.id>"
    yield Case((many,), "find", ({"search": key, "limit": 1000},), _has(this), who)
    yield Case((many,), "find", ({"search": "no such name anywhere"},), _only(), who)
    yield Case((many,), "findAll", (), _has(this), who)
    yield Case(((one, this),), "get", (), {"id": this}, who)
    selectors: list[Any] = [key, *([{"key": key}] if selects else [])]
    for selector in selectors:
        at = ((one, selector),)
        yield Case(at, "get", (), {"id": this, "key": key, "name": _NAME}, who)
        yield Case(at, "patch", ({"description": _OTHER},), {"description": _OTHER}, who)
        whole = {"name": _NAME, **spec}
        yield Case(at, "put", (whole,), _where(lambda it: it.get("description") is None), who)
        yield Case(at, "archive", (), None, who)
        yield Case(at, "get", (), Failure("not_found"), who)
        yield Case(at, "restore", (), {"id": this, "archivedAt": None}, who)


def _adapted(one: str, key: str) -> Iterator[Case]:
    """Yield how a tenant adapts an element of its workspace, and takes that back."""
    for selector in (key, {"key": key}):
        at = ((one, selector),)
        ours = {"name": "Ours"}
        yield Case(at, "patch", (ours,), {"name": "Ours", "isCustomized": True})
        yield Case(((one, key),), "get", (), _where(lambda it: it["name"] != "Ours"), "globex")
        yield Case(at, "reset", (), {"isCustomized": False})
        yield Case(at, "get", (), _where(lambda it: it["name"] != "Ours"))


def _instance(
    one: str, parent: dict[str, Any], spec: dict[str, Any], verbs: tuple[str, ...]
) -> Iterator[Case]:
    """Yield what can be asked of the instances of an element: the first one, and one with a key."""
    many, keyed = f"{one}s", {**parent, "instanceKey": "second"}
    first, second = f"{one}First", f"{one}Second"
    yield Case(((one, {**parent, "autoCreate": False}),), "get", (), Failure("not_found"))
    yield Case(
        ((one, {**parent, "autoCreate": True}),), "get", (), {"isCustomized": False}, save=first
    )
    made = {"name": "Second", "instanceKey": "second", "isCustomized": True}
    yield Case(((one, keyed),), "create", ({"name": "Second"},), made, save=second)
    yield Case(((one, keyed),), "create", ({},), Failure("already_exists"))
    yield Case((many,), "find", ({"instanceKey": "second"},), _only(f"<{second}.id>"))
    yield Case((many,), "find", ({"limit": 1000},), _has(f"<{first}.id>", f"<{second}.id>"))
    yield Case((many,), "find", (), _only(), "globex")
    at, by_id, this = ((one, keyed),), ((one, f"<{second}.id>"),), {"id": f"<{second}.id>"}
    yield Case(at, "get", (), this)
    yield Case(by_id, "get", (), this)
    yield Case(by_id, "get", (), Failure("not_found"), "globex")
    yield Case(at, "patch", ({"description": _OTHER},), {**this, "description": _OTHER})
    whole = {"name": "Put", **spec}
    yield Case(by_id, "put", (whole,), _where(lambda it: it.get("description") is None))
    yield Case(at, "archive")
    yield Case(at, "restore", (), {**this, "archivedAt": None})
    yield Case(by_id, "delete")
    yield Case(by_id, "restore", (), {**this, "name": "Put"})
    for verb in verbs:
        yield Case(by_id, verb)
    seen = {"id": f"<{first}.id>", "isCustomized": False}
    yield Case(((one, f"<{first}.id>"),), "get", (), seen)
    if "reset" in verbs:
        yield Case(((one, keyed),), "get", (), {"id": f"<{second}.id>", "isCustomized": False})


def _at_connection(one: str, many: str, key: str, spec: dict[str, Any]) -> Iterator[Case]:
    """Yield what can be asked of an element at a connection, and of one of its instances."""
    for query in ({}, {"instanceKey": "third"}):
        at = (("connection", "main"), (one, key, query))
        where = {"connectionId": "<main.id>", "instanceKey": query.get("instanceKey")}
        yield Case(at, "create", (), where)
        yield Case(at, "get", ({"autoCreate": True},), {**where, "key": key})
        yield Case(at, "get", (), {**where, "key": key})
        yield Case(at, "patch", ({"name": "Here"},), {**where, "name": "Here"})
        yield Case(at, "put", ({"name": "Put", **spec},), {**where, "name": "Put"})
        yield Case(at, "setup", (), {"state": "READY"})
        yield Case(at, "reset", (), {**where, "isCustomized": False})
        yield Case(at, "archive")
    here = (("connection", "main"), many)
    found = _where(lambda page: key in {item["key"] for item in page["items"]})
    yield Case(here, "list", ({"limit": 1000},), found)


def _at_integration(one: str, many: str, spec: dict[str, Any]) -> Iterator[Case]:
    """Yield what a manager can ask of an element at an integration."""
    key = f"crm-{one.lower()}"
    here, save = ("integration", "crm"), f"crm{one}"
    new = {"key": key, "name": _NAME, **spec}
    where = {"key": key, "integrationKey": "crm"}
    yield Case((here, many), "create", (new,), where, "manager", save)
    yield Case((here, many), "list", ({"limit": 1000},), _has(f"<{save}.id>"), "manager")
    at = (here, (one, key))
    yield Case(at, "get", (), where)
    yield Case(((one, f"crm.{key}"),), "get", (), {"id": f"<{save}.id>"})
    yield Case(at, "patch", ({"description": _OTHER},), {"description": _OTHER}, "manager")
    yield Case(at, "put", ({"name": "Put", **spec},), {"name": "Put"}, "manager")
    yield Case(at, "patch", ({"name": "Ours"},), {"name": "Ours", "isCustomized": True})
    yield Case(at, "reset", (), {"name": "Put", "isCustomized": False})
    yield Case(at, "archive", (), None, "manager")
    yield Case(at, "get", (), Failure("not_found"))


ACTION = {
    "type": "api-request-to-external-app",
    "config": {"request": {"path": "/api/deals", "query": {"limit": 1}}},
    "outputMapping": {"deals": {"$var": "$.output.data.deals"}},
}
FLOW = {
    "nodes": {
        "start": {"type": "api-trigger", "links": [{"key": "shape"}]},
        "shape": {
            "type": "transform-data",
            "config": {"output": {"said": {"$var": "$.input.said"}}},
        },
    },
}
WAITING = {
    "nodes": {
        "start": {"type": "api-trigger", "links": [{"key": "later"}]},
        "later": {"type": "wait", "config": {"hours": 1}},
    },
}
SOURCE = {"collectionKey": "deals"}
MAPPING = {"importValue": {"title": {"$var": "$.fields.title"}}, "appSchema": {"type": "object"}}
SCHEMA = {"schema": {"type": "object"}}
SCREEN = {"type": "integration", "blocks": [{"type": "action", "key": "list-deals"}]}

_DEALS = _where(lambda ran: len(ran["output"]["deals"]) == 1 and bool(ran["actionRunId"]))
_LIST = (("connection", "main"), ("action", "list-deals"))


def _actions() -> Iterator[Case]:
    yield from _element("actions", "action", ACTION, selects=True)
    yield from _adapted("action", "list-deals")
    for selector in ("list-deals", "crm.list-deals", {"key": "list-deals"}):
        yield Case((("action", selector),), "run", ({"limit": 1},), _DEALS)
    for over in (
        {"connectionId": "<main.id>"},
        {"connectionKey": "main"},
        {"integrationKey": "crm"},
    ):
        yield Case((("action", "list-deals"),), "run", ({"limit": 1}, over), _DEALS)
    yield Case((("action", "none"),), "run", ({},), Failure("not_found"))
    yield from _instance(
        "actionInstance",
        {"parentKey": "list-deals", "connectionId": "<main.id>"},
        ACTION,
        ("setup", "reset"),
    )
    at = {"parentKey": "list-deals", "connectionId": "<main.id>"}
    yield Case((("actionInstance", at),), "run", ({"limit": 1},), _DEALS)
    yield Case((("actionInstance", "<actionInstanceSecond.id>"),), "run", ({"limit": 1},), _DEALS)
    yield Case(_LIST, "run", ({"limit": 1},), _DEALS)
    yield from _at_connection("action", "actions", "list-deals", ACTION)


def _connections() -> Iterator[Case]:
    key = {"apiKey": "crm-acme-key"}
    new = {"integrationKey": "crm", "name": "Spare", "key": "spare", "credentials": key}
    yield Case(
        ("connections",), "create", (new,), {"key": "spare", "connected": True}, save="spare"
    )
    query = {"integrationKey": "crm", "connected": True}
    yield Case(("connections",), "find", (query,), _only("<spare.id>", "<main.id>"))
    yield Case(("connections",), "find", (), _only(), "globex")
    for selector in ("spare", "<spare.id>"):
        at = (("connection", selector),)
        yield Case(at, "get", (), {"id": "<spare.id>"})
        yield Case(at, "get", ({"includeSecrets": True},), Failure("access_denied"))
        secret = _where(lambda it: it["credentials"] == {"apiKey": "crm-acme-key"})
        yield Case(at, "get", ({"includeSecrets": True},), secret, "manager")
        yield Case(at, "get", (), Failure("not_found"), "globex")
        yield Case(at, "patch", ({"name": "Renamed"},), {"name": "Renamed"})
        yield Case(at, "put", ({"name": "Put"},), {"name": "Put"})
        yield Case(at, "refreshCredentials", (), {"state": "READY"})
    yield Case((("connection", "spare"),), "archive")
    yield Case((("connection", "spare"),), "get", (), _where(lambda it: bool(it["archivedAt"])))
    proxy = (("connection", "main"), "proxy")
    deal = {"title": "By proxy", "contactId": "acme-contact-1", "amount": 1, "currency": "USD"}
    deals = _where(lambda it: len(it["deals"]) == 2)
    yield Case(proxy, "get", ("/api/deals?limit=2",), deals)
    yield Case(proxy, "post", ("/api/deals", deal), {"title": "By proxy"}, save="proxied")
    path = "/api/deals/<proxied.id>"
    yield Case(proxy, "patch", (path, {"title": "Patched"}), {"title": "Patched"})
    echoed = _where(lambda it: it["method"] == "PUT")
    # The sample app's deals are patched; what takes a PUT there is where it shows its faults.
    yield Case(proxy, "put", ("/faults/echo", {"a": 1}), echoed)
    yield Case(proxy, "delete", (path,))
    operation = (("connection", "main"), ("operation", "who-am-i"))
    yield Case(operation, "get", (), {"key": "who-am-i"})
    legacy = _where(lambda it: bool(it["name"]))
    yield Case((("connection", "main"),), "request", ("/who-am-i", {}), legacy)
    yield Case((), "connectionRequest", ("main", "who-am-i", {}), legacy)
    yield Case(operation, "run", ({"input": {}},), _where(lambda it: bool(it["output"])))
    data = (("connection", "main"), ("dataCollection", "deals", {}))
    yield Case(data, "get", (), {"key": "deals", "type": "collection"})
    yield from _records(data, ("create", "list", "search", "match", "findById", "update", "delete"))


def _records(path: tuple[Any, ...], names: tuple[str, ...]) -> Iterator[Case]:
    """Yield a record's life, by whichever names the accessor has for its methods."""
    create, listed, search, match, find, update, delete = names
    title, save = f"Record of {path[-1][0]}", f"{path[-1][0]}Record"
    this = f"<{save}.id>"
    fields = {"title": title, "contactId": "acme-contact-1", "amount": 1, "currency": "USD"}
    yield Case(path, create, ({"fields": fields},), _where(lambda it: bool(it["id"])), save=save)
    several = _where(lambda page: len(page["records"]) > 1)
    yield Case(path, listed, ({},), several)
    found = _where(lambda page: title in {each["fields"]["title"] for each in page["records"]})
    yield Case(path, search, ({"query": title},), found)
    one = _where(lambda it: it["record"]["fields"]["title"] == title)
    yield Case(path, match, ({"query": {"title": title}},), one)
    yield Case(path, find, ({"id": this},), one)
    yield Case(path, update, ({"id": this, "fields": {"title": "Updated"}},), {"id": this})
    changed = _where(lambda it: it["record"]["fields"]["title"] == "Updated")
    yield Case(path, find, ({"id": this},), changed)
    yield Case(path, delete, ({"id": this},))
    yield Case(path, find, ({"id": this},), Failure("not_found"))


def _flows() -> Iterator[Case]:
    yield from _element("flows", "flow", FLOW, selects=True)
    yield from _adapted("flow", "sync")
    parent = {"flowKey": "sync", "connectionId": "<main.id>"}
    verbs = ("disable", "enable", "updateToLatestFlow", "setup", "reset")
    yield from _instance("flowInstance", parent, FLOW, verbs)
    new = {"flowId": "<sync.id>", "connectionId": "<main.id>", "instanceKey": "fourth"}
    made = {"flowId": "<sync.id>", "instanceKey": "fourth", "enabled": False}
    yield Case((("flow", "sync"),), "get", (), {"key": "sync"}, save="sync")
    yield Case(("flowInstances",), "create", ({**new, "enabled": False},), made, save="fourth")
    fourth = (("flowInstance", "<fourth.id>"),)
    yield Case(fourth, "enable", (), {"id": "<fourth.id>", "enabled": True})
    yield Case(fourth, "disable", (), {"id": "<fourth.id>", "enabled": False})
    yield Case(
        ("flowInstances",), "find", ({"flowKey": "sync", "enabled": False},), _only("<fourth.id>")
    )
    mine = {"name": "Fourth", "nodes": {"shape": {"name": "Mine"}}}
    yield Case(fourth, "patch", (mine,), {"name": "Fourth"})
    left = _where(lambda it: it["name"] == "Fourth" and "name" not in it["nodes"]["shape"])
    yield Case(fourth, "reset", ({"nodes": {"shape": True}},), left)
    plain = _where(lambda it: it["name"] != "Fourth" and not it["isCustomized"])
    yield Case(fourth, "reset", (), plain)
    said = {"input": {"said": "hello"}}
    running = {"flowInstanceId": "<fourth.id>", "connectionId": "<main.id>"}
    yield Case(fourth, "startRun", (said,), running, save="run")
    yield Case((("flowRun", "<run.id>"),), "get", (), {"state": "completed"}, until=_ENDED)
    yield Case(fourth, "run", ({**said, "nodeKey": "start"},), {"state": "completed"})
    yield Case(fourth, "run", ({"nodeKey": "none"},), Failure("bad_request"))
    here = (("connection", "main"), ("flow", "sync", {"instanceKey": "fourth"}))
    yield Case(here, "run", (said,), running)
    yield Case(here, "disable", (), {"enabled": False})
    yield Case(here, "enable", (), {"enabled": True})
    yield from _at_connection("flow", "flows", "sync", FLOW)
    yield from _flow_runs(said)


_ENDED = ("completed", "failed", "stopped")


def _flow_runs(said: dict[str, Any]) -> Iterator[Case]:
    started = {"flowInstanceId": "<fourth.id>", "startNodeKey": "start", **said}
    launched = {"flowInstanceId": "<fourth.id>", "startNodeKey": "start", "input": said["input"]}
    yield Case(("flowRuns",), "create", (started,), launched, save="made")
    made = (("flowRun", "<made.id>"),)
    done = {"state": "completed", "flowInstanceId": "<fourth.id>"}
    yield Case(made, "get", (), done, until=_ENDED)
    yield Case(made, "get", (), Failure("not_found"), "globex")
    for query in (
        {"state": "completed", "flowId": "<sync.id>"},
        {"connectionFlowId": "<fourth.id>"},
        {"connectionId": "<main.id>", "integrationId": "<main.integrationId>"},
    ):
        yield Case(("flowRuns",), "find", (query,), _has("<made.id>"))
    yield Case(("flowRuns",), "find", (), _only(), "globex")
    yield Case(made, "getOutput", (), {"output": {"said": "hello"}})
    yield Case(
        made,
        "getNodeRuns",
        ("shape", {"cursor": "0"}),
        _where(lambda it: len(it["items"]) == 1),
        save="shapes",
    )
    yield Case(made, "getNodeRun", ("shape", "<shapes.items.0.id>"), {"status": "completed"})
    output = _where(lambda it: it["items"][0]["data"] == {"said": "hello"})
    yield Case(made, "getNodeOutputs", ("shape", {"limit": 10}), output, save="outputs")
    one = {"data": {"said": "hello"}}
    yield Case(made, "getNodeOutput", ("shape", "<outputs.items.0.id>"), one)
    yield Case(made, "repeat", (), {**launched, "connectionId": "<main.id>"})
    sleeper = {"flowKey": "waiting", "connectionId": "<main.id>"}
    yield Case(
        (("flowInstance", sleeper),), "startRun", (), {"connectionId": "<main.id>"}, save="slow"
    )
    slow = (("flowRun", "<slow.id>"),)
    yield Case(slow, "stop")
    yield Case(slow, "get", (), {"state": "stopped"}, until=_ENDED)


def _tenants() -> Iterator[Case]:
    who = "manager"
    new = {"name": "Initech", "internalId": "initech", "fields": {"plan": "a", "seats": 1}}
    yield Case(("customers",), "create", (new,), new, who, "initech")
    yield Case(("customers",), "find", ({"search": "initech"},), _only("<initech.id>"), who)
    yield Case(("customers",), "findAll", (), _has("<initech.id>"), who)
    yield Case(("customers",), "find", (), Failure("access_denied"))
    for selector in ("<initech.id>", {"id": "<initech.id>"}):
        at = (("customer", selector),)
        yield Case(at, "get", (), {"internalId": "initech"}, who)
        merged = {"name": "Initrode", "fields": {"plan": "b", "seats": 1}}
        yield Case(at, "patch", ({"name": "Initrode", "fields": {"plan": "b"}},), merged, who)
        whole = {"name": "Initech", "fields": {"plan": "a", "seats": 1}}
        yield Case(at, "put", (whole,), whole, who)
        yield Case(at, "archive", (), None, who)
        yield Case(at, "get", (), _where(lambda it: bool(it["archivedAt"])), who)
        yield Case(at, "restore", (), {"id": "<initech.id>", "archivedAt": None}, who)
    yield Case(("self",), "get", (), {"internalId": "acme", "name": "Acme Corp"})
    yield Case(("self",), "patch", ({"credentials": {"token": "s3cret"}},), {"internalId": "acme"})
    yield Case((), "setCredentials", ({"token": "other"},), {"internalId": "acme"})


def _others() -> Iterator[Case]:
    yield from _element("integrations", "integration", {"connectorKey": "crm"})
    crm = (("integration", "crm"),)
    yield Case(crm, "setup", (), {"state": "READY"}, "manager")
    yield Case(crm, "getConnectorSpec", (), {"key": "crm", "authType": "api-key"})
    named = _where(lambda it: "who-am-i" in {each["key"] for each in it})
    yield Case(crm, "getOperations", (), named)
    yield Case(crm, "getOperation", ("who-am-i",), {"key": "who-am-i"})
    yield Case(
        crm, "getDataCollections", (), _where(lambda it: "deals" in {each["key"] for each in it})
    )
    yield Case(crm, "getDataCollection", ("deals",), {"key": "deals"})
    yield from _at_integration("action", "actions", ACTION)
    yield from _at_integration("flow", "flows", FLOW)
    yield from _at_integration("dataSource", "dataSources", SOURCE)
    yield from _at_integration("fieldMapping", "fieldMappings", MAPPING)
    yield from _element("dataSources", "dataSource", SOURCE, selects=True)
    yield from _adapted("dataSource", "deals")
    yield Case((("dataSource", "deals"),), "setup")
    source = {"dataSourceKey": "deals", "connectionId": "<main.id>"}
    yield from _instance("dataSourceInstance", source, SOURCE, ("setup", "reset"))
    at = (("dataSourceInstance", source),)
    yield Case(at, "getCollection", (), {"key": "deals"})
    yield from _records(
        at,
        (
            *("createRecord", "listRecords", "searchRecords", "matchRecord", "findRecordById"),
            *("updateRecord", "deleteRecord"),
        ),
    )
    texts = _where(lambda page: len(page["records"]) > 0)
    yield Case(
        at, "findRecords", ({"query": "no such deal"},), _where(lambda it: not it["records"])
    )
    yield Case(at, "findRecords", ({},), texts)
    native = {"title": "Unified"}
    yield Case(at, "unifiedFieldsToNative", ({"name": "Unified"},), native)
    yield from _at_connection("dataSource", "dataSources", "deals", SOURCE)
    yield from _element("fieldMappings", "fieldMapping", MAPPING, selects=True)
    yield from _adapted("fieldMapping", "deal-fields")
    for selector in ("deal-fields", {"key": "deal-fields"}):
        here = (("fieldMapping", selector),)
        yield Case(here, "getAppSchema", (), {"type": "object"})
        yield Case(here, "setup", (), {"state": "READY"})
    mapping = {"fieldMappingKey": "deal-fields", "connectionId": "<main.id>"}
    yield from _instance("fieldMappingInstance", mapping, MAPPING, ("setup", "reset"))
    yield from _at_connection("fieldMapping", "fieldMappings", "deal-fields", MAPPING)
    yield from _element("dataLinkTables", "dataLinkTable", {})
    table = {"dataLinkTableKey": "links", "connectionId": "<main.id>"}
    yield from _instance("dataLinkTableInstance", table, {}, ())
    yield from _links((("dataLinkTableInstance", table),))
    yield from _element("appEventTypes", "appEventType", {"schema": {"type": "object"}})
    yield from _subscriptions()
    yield from _heard()
    yield from _element("appDataSchemas", "appDataSchema", SCHEMA)
    schema = {"appDataSchemaKey": "deal"}
    yield from _instance("appDataSchemaInstance", schema, SCHEMA, ("setup",))
    yield from _element("packages", "package", {"elements": []})
    yield from _element("screens", "screen", SCREEN, selects=True)
    yield from _raw()


def _subscriptions() -> Iterator[Case]:
    """Yield what can be asked of a tenant's own addresses for events of its product."""
    one, many = "appEventSubscription", "appEventSubscriptions"
    kind = {"appEventTypeKey": "deal-won"}
    first, second = ((one, kind),), ((one, {**kind, "instanceKey": "two"}),)
    begun = {"appEventTypeKey": "deal-won", "isSubscribed": False}
    yield Case(first, "get", (), begun, save="firstAddress")
    made = {"instanceKey": "two", "isSubscribed": False}
    yield Case(second, "create", (), made, save="secondAddress")
    yield Case(second, "create", (), Failure("already_exists"))
    this = {"id": "<secondAddress.id>"}
    yield Case(second, "get", (), this)
    yield Case(((one, "<secondAddress.id>"),), "get", (), this)
    yield Case(((one, "<secondAddress.id>"),), "get", (), Failure("not_found"), "globex")
    yield Case(second, "put", ({},), this)
    yield Case(second, "patch", ({},), this)
    yield Case(second, "subscribe", (), {**this, "isSubscribed": True})
    yield Case((many,), "find", (), _only("<firstAddress.id>", "<secondAddress.id>"))
    yield Case((many,), "find", (), _only(), "globex")
    by_id = ((one, "<secondAddress.id>"),)
    for method in ("archive", "delete"):
        yield Case(by_id, method, (), _where(lambda it: it["webhookUri"] is None))
        yield Case((many,), "find", (), _only("<firstAddress.id>"))
        back = _where(lambda it: it["archivedAt"] is None and bool(it["webhookUri"]))
        yield Case(by_id, "restore", (), back)


def _heard() -> Iterator[Case]:
    """Yield what can be asked of what the tenant `watcher` hears of its app.

    `hook` is told by the app, `pull` is looked for; both were there before.
    """
    who, many = "watcher", ("externalEventSubscriptions",)
    yield Case((many,), "find", (), _only("<hook.id>", "<pull.id>"), who)
    yield Case((many,), "find", ({"status": "subscribed"},), _has("<hook.id>"), who)
    yield Case((many,), "find", (), _only(), "globex")
    at = (("externalEventSubscription", "<hook.id>"),)
    yield Case(at, "get", (), {"id": "<hook.id>", "status": "subscribed", "isRealTime": True}, who)
    yield Case(at, "get", (), Failure("not_found"), "globex")
    for method, status in (
        ("unsubscribe", "unsubscribed"),
        ("setup", "unsubscribed"),
        ("subscribe", "subscribed"),
        ("resubscribe", "subscribed"),
        ("refreshWebhook", "subscribed"),
    ):
        yield Case(at, method, (), None, who)
        yield Case(at, "get", (), {"id": "<hook.id>", "status": status}, who)
    yield Case((("externalEventSubscription", "<pull.id>"),), "pullEvents", (), None, who)
    query = {"externalEventSubscriptionId": "<pull.id>"}
    pulled = _where(lambda page: len(page["items"]) > 0)
    yield Case((), "get", ("/external-event-pulls", query), pulled, who)


def _links(at: tuple[Any, ...]) -> Iterator[Case]:
    link = {"appRecordId": "1", "externalRecordId": "2", "direction": "import"}
    yield Case(at, "createLink", (link,), link)
    one = _where(lambda page: len(page["items"]) == 1)
    yield Case(at, "findLinks", (), one)
    yield Case(at, "findLinks", ({"appRecordId": "1"},), one)
    yield Case(at, "findLinks", ({"appRecordId": "9"},), _only())
    yield Case(at, "deleteLink", (link,))
    yield Case(at, "findLinks", (), _only())


def _raw() -> Iterator[Case]:
    """Yield what has no accessor of its own: whatever the API has, by its path."""
    logs = _where(lambda page: page["items"][0]["status"] == "success")
    yield Case(
        (), "get", ("/action-run-logs", {"status": "success", "limit": 1}), logs, save="logs"
    )
    log = "/action-run-logs/<logs.items.0.id>"
    yield Case((), "get", (log,), {"id": "<logs.items.0.id>"})
    yield Case((), "get", (f"{log}/details",), {"logs": []})
    act = {"key": "list-deals", "input": {"limit": 1}, "connectionKey": "main"}
    yield Case((), "post", ("/act", act), _DEALS)
    yield Case((), "post", ("/flows/sync/run", {"input": {"said": "hi"}}), {"flowKey": "sync"})
    main = "/connections/<main.id>"
    yield Case((), "post", (f"{main}/test",), {"success": True})
    yield Case((), "get", (f"{main}/logs",), _where(lambda page: len(page["items"]) > 0))
    stands = _where(lambda it: [each["key"] for each in it["items"]] == ["crm", "crm"])
    yield Case((), "get", (f"{main}/dependencies",), stands)
    yield Case((), "get", (f"{main}/export",), {"key": "main", "integrationKey": "crm"})
    yield Case((), "put", ("/actions/list-deals",), {"key": "list-deals"})
    yield Case((), "patch", (main, {"name": "Main"}), {"name": "Main"})
    yield Case((), "delete", ("/connections/none",), Failure("not_found"))
    token = {"tenantKey": "acme", "name": "Acme Corp"}
    made = _where(lambda it: it["token"].count(".") == 2)
    path = "/org-workspaces/<workspace.workspaceKey>/access-token"
    yield Case((), "get", ("/self",), {"isWorkspaceManager": True}, "manager", "workspace")
    yield Case((), "post", (path, token), made, "manager")
    yield Case((), "post", (f"{main}/disconnect",))
    gone = {"connected": False, "state": "CLIENT_ACTION_REQUIRED"}
    yield Case((), "get", (main,), gone)


#: Section of the contract -> its cases, in the order in which they are called.
CASES: Mapping[str, tuple[Case, ...]] = {
    "Connections": tuple(_connections()),
    "Actions": tuple(_actions()),
    "Flows and flow runs": tuple(_flows()),
    "Tenants": tuple(_tenants()),
    "Everything else": tuple(_others()),
}
