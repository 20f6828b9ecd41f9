"""Every route of the API: how to ask it for something of another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtime.config.kinds import KINDS

__all__ = ["ASKS", "ENDLESS", "KEYED", "OPEN", "OWNED", "SHARED", "Ask", "routes_of"]

#: What is acme's alone, and what belongs to its workspace: names in the braces of what is asked.
OWNED = {
    *("connection", "action", "run", "dead", "record", "limit", "cap", "tenant"),
    *("flow_run", "node_run", "schedule"),
    *("webhook_endpoint", "webhook_delivery", "alert"),
    *("app_event", "app_event_subscription"),
    *("subscription", "external_event", "incoming_webhook", "pull"),
    *("connector", "data_source", "field_mapping", "flow"),
    *(f"{name.replace('-', '_')}_instance" for name, kind in KINDS.items() if kind.instances),
}
SHARED = {
    *("integration", "shared_action", "external_app", "shared_limit", "shared_cap"),
    *("shared_connector", "shared_data_source", "shared_field_mapping", "shared_flow"),
    *("app_data_schema", "app_event_type", "data_link_table", "package", "screen", "workspace"),
}

#: Routes that answer without a token, on purpose.
OPEN = {
    "GET /health/live",
    "GET /health/ready",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
}

#: Routes whose answer goes on until who asked has heard enough (tests/api/test_live.py).
ENDLESS = {"GET /activity/live", "GET /sse/workspace"}

#: Routes where a key in the path is the only credential: whoever posts events from outside has no
#: token. They take nothing but the key, and to one that is not good they say 404.
KEYED = {
    "POST /webhooks/app-events/{key}",
    "POST /webhooks/external/{key}",
}


@dataclass(frozen=True)
class Ask:
    """A request with names of acme's things in braces, such as `/runs/{run}`.

    Where only an id or only a key is understood, the braces say so: `{tenant_key}`. `lists` says
    that it is answered with 200 whatever it names, because it only narrows a list.
    """

    path: str
    body: Any = None
    lists: bool = False


def _list(path: str, *filters: str) -> list[Ask]:
    """Return the list as it is, and narrowed to each of acme's things."""
    narrowed = [Ask(f"{path}?{each}", lists=True) for each in filters]
    return [Ask(path, lists=True), *narrowed]


_BY_CONNECTION = ("connectionId={connection_id}", "connectionKey={connection_key}")
_BY_TENANT = ("tenantId={tenant_id}", "userId={tenant_id}", "tenantKey={tenant_key}")
_API = {"method": "GET", "path": "/api/me"}

_START = "/flow-runs/{flow_run}/nodes/start"
_HOOK = "/webhook-endpoints/{webhook_endpoint}"

_LINKS = (
    "/data-link-table-instance/links?dataLinkTableKey={data_link_table}&connectionId={connection}"
)
_LINK = {"appRecordId": "1", "externalRecordId": "2"}

#: What each method of a data collection may be asked.
_DATA: dict[str, dict[str, Any]] = {
    "list": {},
    "search": {"query": "canary"},
    "match": {"query": {"title": "canary"}},
    "find-by-id": {"id": "1"},
    "create": {"fields": {"title": "Mine"}},
    "update": {"id": "1", "fields": {"title": "Mine"}},
    "delete": {"id": "1"},
}

_CAPS = [
    {"scope": "tenant", "tenantId": "{tenant}", "amount": 5},
    {"scope": "connection", "connectionId": "{connection}", "amount": 5},
    {"scope": "element", "elementId": "{action}", "amount": 5},
]

_TYPE = "appEventTypeKey={app_event_type}"
_SUBSCRIBING = (("GET", ""), ("POST", "/subscribe"), ("DELETE", ""))
_SELECTED = f"/app-event-subscription?{_TYPE}&tenantId={{tenant}}"

ASKS: dict[str, list[Ask]] = {
    # running
    "POST /actions/{selector}/run": [
        Ask("/actions/{action}/run", {"input": {}}),
        Ask("/actions/{integration_key}.{action_key}/run", {"input": {}}),
        *(Ask("/actions/{shared_action}/run?" + each, {"input": {}}) for each in _BY_CONNECTION),
        Ask("/actions/{shared_action}/run?integrationId={integration}", {"input": {}}),
    ],
    "POST /action/run": [
        Ask("/action/run?id={action}", {"input": {}}),
        Ask("/action/run?key={action}&connectionId={connection}", {"input": {}}),
    ],
    "POST /connections/{connection}/actions/{selector}/run": [
        Ask("/connections/{connection}/actions/{shared_action}/run", {}),
        Ask("/connections/{connection}/actions/{action}/run", {}),
    ],
    "POST /action-instance/run": [
        Ask("/action-instance/run?id={action}", {}),
        Ask("/action-instance/run?parentKey={shared_action}&connectionId={connection}", {}),
    ],
    "POST /act": [
        Ask("/act", {"id": "{action}"}),
        Ask("/act", {"key": "{action}"}),
        Ask("/act", {"api": _API, "connectionId": "{connection}"}),
        Ask("/act", {"api": _API, "connectionKey": "{connection}"}),
        Ask("/act", {"api": _API, "integrationId": "{integration}"}),
    ],
    # runs
    "GET /runs": _list("/runs", _BY_CONNECTION[0], "actionId={action_id}", _BY_TENANT[0]),
    "POST /runs": [
        Ask("/runs", {"runs": [{"action": "{action}", "connectionId": "{connection}"}]}, lists=True)
    ],
    "GET /runs/{run_id}": [Ask("/runs/{run}")],
    "GET /runs/{run_id}/why": [Ask("/runs/{run}/why")],
    "POST /runs/{run_id}/stop": [Ask("/runs/{run}/stop")],
    # flow runs
    "GET /flow-runs": _list(
        "/flow-runs", "flowId={flow_id}", "flowKey={flow_key}", _BY_CONNECTION[0], *_BY_TENANT[:2]
    ),
    "POST /flow-runs": [
        Ask("/flow-runs", {"flowKey": "{flow}"}),
        Ask("/flow-runs", {"flowInstanceId": "{flow}", "startNodeKey": "start"}),
        Ask("/flow-runs", {"flowKey": "{flow}", "connectionId": "{connection_id}"}),
    ],
    "POST /flows/{selector}/run": [Ask("/flows/{flow}/run", {})],
    "POST /connections/{connection}/flows/{selector}/run": [
        Ask("/connections/{connection}/flows/{shared_flow}/run", {}),
        Ask("/connections/{connection}/flows/{flow}/run", {}),
    ],
    "POST /flow-runs/repeat": [Ask("/flow-runs/repeat", {"ids": ["{flow_run}"]}, lists=True)],
    "GET /flow-runs/{run_id}": [Ask("/flow-runs/{flow_run}")],
    "GET /flow-runs/{run_id}/graph": [
        Ask("/flow-runs/{flow_run}/graph"),
        Ask("/flow-runs/{flow_run}/graph?format=svg"),
    ],
    "GET /flows/{selector}/graph": [
        Ask("/flows/{flow}/graph"),
        Ask("/flows/{flow}/graph?format=mermaid"),
    ],
    "GET /flow-runs/{run_id}/output": [Ask("/flow-runs/{flow_run}/output")],
    "GET /flow-runs/{run_id}/nodes/{node_key}/runs": [Ask(f"{_START}/runs")],
    "GET /flow-runs/{run_id}/nodes/{node_key}/runs/{node_run}": [
        Ask(f"{_START}/runs/{{node_run}}"),
        Ask(f"{_START}/runs/cursor=0"),
    ],
    "GET /flow-runs/{run_id}/nodes/{node_key}/outputs": [Ask(f"{_START}/outputs")],
    "GET /flow-runs/{run_id}/nodes/{node_key}/output/{output}": [
        Ask(f"{_START}/output/{{node_run}}")
    ],
    "GET /flow-runs/{run_id}/nodes/{node_key}/outputs/{output}": [
        Ask(f"{_START}/outputs/{{node_run}}.0")
    ],
    "POST /flow-runs/{run_id}/nodes/{node_key}/runs/{node_run}/{decision}": [
        Ask(f"{_START}/runs/{{node_run}}/approve", {})
    ],
    "POST /flow-runs/{run_id}/events": [Ask("/flow-runs/{flow_run}/events", {"event": "x"})],
    "POST /flow-runs/{run_id}/stop": [Ask("/flow-runs/{flow_run}/stop")],
    "POST /flow-runs/{run_id}/repeat": [Ask("/flow-runs/{flow_run}/repeat")],
    "POST /flow-runs/{run_id}/resume": [Ask("/flow-runs/{flow_run}/resume")],
    "POST /flow-runs/{run_id}/fork": [
        Ask("/flow-runs/{flow_run}/fork", {"nodeRunId": "{node_run}"})
    ],
    # schedules
    "GET /schedules": _list(
        "/schedules",
        "flowKey={flow_key}",
        "actionKey={action_key}",
        _BY_CONNECTION[0],
        *_BY_TENANT,
    ),
    "POST /schedules": [
        Ask("/schedules", {"flowKey": "{flow}", "intervalMinutes": 60}),
        Ask("/schedules", {"actionId": "{action}", "cron": "0 3 * * *"}),
        Ask(
            "/schedules",
            {"actionKey": "{shared_action}", "connectionId": "{connection}", "cron": "0 3 * * *"},
        ),
    ],
    "GET /schedules/{schedule_id}": [Ask("/schedules/{schedule}")],
    "PATCH /schedules/{schedule_id}": [Ask("/schedules/{schedule}", {"name": "Mine"})],
    "DELETE /schedules/{schedule_id}": [Ask("/schedules/{schedule}")],
    **{
        f"POST /schedules/{{schedule_id}}/{verb}": [Ask(f"/schedules/{{schedule}}/{verb}")]
        for verb in ("pause", "resume", "run")
    },
    "GET /schedules/{schedule_id}/next": [Ask("/schedules/{schedule}/next")],
    "POST /schedules/{schedule_id}/backfill": [
        Ask("/schedules/{schedule}/backfill", {"from": "2026-01-01", "to": "2026-01-02"})
    ],
    "GET /flow-triggers": _list(
        "/flow-triggers", "flowKey={flow_key}", _BY_CONNECTION[0], *_BY_TENANT
    ),
    # connections
    "GET /connections": _list(
        "/connections", "integrationId={integration_id}", *_BY_TENANT[:2], "search=canary"
    ),
    "POST /connections": [
        Ask("/connections", {"integrationKey": "{integration}", "credentials": {}}),
        Ask("/connections", {"integrationId": "{integration}", "credentials": {}}),
    ],
    "GET /connections/{selector}": [
        Ask("/connections/{connection}"),
        Ask("/connections/{connection}?includeSecrets=true"),
    ],
    "PATCH /connections/{selector}": [Ask("/connections/{connection}", {"name": "Mine"})],
    "PUT /connections/{selector}": [Ask("/connections/{connection}", {"name": "Mine"})],
    "DELETE /connections/{selector}": [Ask("/connections/{connection}")],
    "POST /connections/{selector}/restore": [Ask("/connections/{connection}/restore")],
    "POST /connections/{selector}/test": [Ask("/connections/{connection}/test")],
    "POST /connections/{selector}/refresh": [Ask("/connections/{connection}/refresh")],
    "POST /connections/{selector}/refresh-credentials": [
        Ask("/connections/{connection}/refresh-credentials")
    ],
    "POST /connections/ensure": [
        Ask("/connections/ensure", {"appUrl": "http://127.0.0.1"}, lists=True)
    ],
    "POST /connections/{selector}/disconnect": [Ask("/connections/{connection}/disconnect")],
    **{
        f"GET /connections/{{selector}}/{part}": [Ask(f"/connections/{{connection}}/{part}")]
        for part in ("logs", "dependencies", "export")
    },
    "GET /integrations/{integration}/connector-spec": [
        Ask("/integrations/{integration}/connector-spec")
    ],
    # operations and data collections; the connector that acme's connection is of has both
    "GET /connections/{connection}/operations/{key}": [
        Ask("/connections/{connection}/operations/who-am-i")
    ],
    "POST /connections/{connection}/operations/{key}/run": [
        Ask("/connections/{connection}/operations/who-am-i/run", {})
    ],
    "POST /connections/{connection}/api/{key:path}": [
        Ask("/connections/{connection}/api/who-am-i", {})
    ],
    "POST /connections/{connection}/execute-request": [
        Ask("/connections/{connection}/execute-request", {"key": "who-am-i"})
    ],
    "GET /connections/{connection}/data/{key}": [Ask("/connections/{connection}/data/deals")],
    **{
        f"POST /connections/{{connection}}/data/{{key}}/{method}": [
            Ask(f"/connections/{{connection}}/data/deals/{method}", body)
        ]
        for method, body in _DATA.items()
    },
    **{
        f"GET /integrations/{{integration}}/{part}{below}": [
            Ask(f"/integrations/{{integration}}/{part}{below.replace('{key}', key)}")
        ]
        for part, key in (("operations", "who-am-i"), ("data", "deals"))
        for below in ("", "/{key}")
    },
    **{
        f"{method} /connections/{{connection}}/proxy/{{path:path}}": [
            Ask("/connections/{connection}/proxy/api/me")
        ]
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    },
    "GET /data-source-instance/collection": [
        Ask("/data-source-instance/collection?id={data_source_instance}")
    ],
    **{
        f"POST /data-source-instance/collection/{method}": [
            Ask(f"/data-source-instance/collection/{method}?id={{data_source_instance}}", body)
        ]
        for method, body in {**_DATA, "find": {"query": "canary"}}.items()
    },
    "POST /data-source-instance/unified-fields-to-native": [
        Ask("/data-source-instance/unified-fields-to-native?id={data_source_instance}", {"a": 1})
    ],
    # tenants
    "GET /self": [Ask("/self", lists=True)],
    "PATCH /self": [Ask("/self", {"credentials": None}, lists=True)],
    "GET /customers": _list("/customers", "search=canary"),
    "POST /customers": [Ask("/customers", {"name": "Mine"}, lists=True)],
    **{
        f"{method} {path}{below}": [Ask(asked + below.replace("{resource}", "emails") + rest, body)]
        for path, asked, rest in (
            ("/customers/{selector}", "/customers/{tenant}", ""),
            ("/customer", "/customer", "?id={tenant_id}"),
        )
        for method, below, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "Mine"}),
            ("PUT", "", {"name": "Mine"}),
            ("DELETE", "", None),
            ("POST", "/restore", None),
            ("PUT", "/limits/{resource}", {"window": "1d", "limit": 5}),
        )
    },
    # dead letters
    "GET /dead-letters": _list(
        "/dead-letters", _BY_CONNECTION[0], "actionId={action_id}", _BY_TENANT[0]
    ),
    "GET /dead-letters/{run_id}": [Ask("/dead-letters/{dead}")],
    "POST /dead-letters/redrive": [Ask("/dead-letters/redrive", {"ids": ["{dead}"]}, lists=True)],
    "POST /dead-letters/purge": [Ask("/dead-letters/purge", {"ids": ["{dead}"]}, lists=True)],
    "POST /dead-letters/{run_id}/redrive": [Ask("/dead-letters/{dead}/redrive")],
    "DELETE /dead-letters/{run_id}": [Ask("/dead-letters/{dead}")],
    # caps
    "GET /caps": _list(
        "/caps", *_BY_TENANT, "connectionId={connection_id}", "elementId={action_id}"
    ),
    "POST /caps": [Ask("/caps", body) for body in _CAPS],
    "PUT /caps": [Ask("/caps", body) for body in _CAPS],
    "GET /caps/{cap_id}": [Ask("/caps/{cap}"), Ask("/caps/{shared_cap}")],
    "PATCH /caps/{cap_id}": [Ask("/caps/{cap}", {"amount": 5})],
    "DELETE /caps/{cap_id}": [Ask("/caps/{cap}")],
    # limits, usage, activity
    "GET /limits": _list("/limits", *_BY_TENANT),
    "POST /limits": [
        Ask(
            "/limits",
            {
                "resource": "r",
                "scope": "tenant",
                "tenantId": "{tenant}",
                "window": "1d",
                "limit": 5,
            },
        ),
    ],
    "GET /limits/{limit_id}": [Ask("/limits/{limit}"), Ask("/limits/{shared_limit}")],
    "PATCH /limits/{limit_id}": [Ask("/limits/{limit}", {"limit": 5})],
    "PUT /limits/{limit_id}": [Ask("/limits/{limit}", {"limit": 5})],
    "DELETE /limits/{limit_id}": [Ask("/limits/{limit}")],
    "POST /limits/{limit_id}/restore": [Ask("/limits/{limit}/restore")],
    "GET /usage": _list("/usage", *_BY_TENANT),
    "GET /activity": _list("/activity", "runId={run}", *_BY_CONNECTION[:1], *_BY_TENANT),
    "GET /activity/{record_id}": [Ask("/activity/{record}"), Ask("/activity/{run}")],
    "GET /action-run-logs": _list("/action-run-logs", "actionRunId={run}", *_BY_CONNECTION[:1]),
    "GET /action-run-logs/{record_id}": [
        Ask("/action-run-logs/{record}"),
        Ask("/action-run-logs/{run}"),
    ],
    "GET /action-run-logs/{record_id}/details": [
        Ask("/action-run-logs/{record}/details"),
        Ask("/action-run-logs/{run}/details"),
    ],
    # live
    "GET /activity/live": [Ask("/activity/live?" + each) for each in _BY_TENANT],
    "GET /flow-runs/{run_id}/live": [Ask("/flow-runs/{flow_run}/live")],
    "GET /sse/workspace": [],
    # webhooks and alerts
    "GET /webhook-endpoints": [Ask("/webhook-endpoints", lists=True)],
    "POST /webhook-endpoints": [
        Ask("/webhook-endpoints", {"url": "https://example.com/hook"}, lists=True)
    ],
    "GET /webhook-endpoints/{endpoint_id}": [Ask(_HOOK)],
    "PATCH /webhook-endpoints/{endpoint_id}": [Ask(_HOOK, {"description": "Mine"})],
    "DELETE /webhook-endpoints/{endpoint_id}": [Ask(_HOOK)],
    "GET /webhook-endpoints/{endpoint_id}/secret": [Ask(f"{_HOOK}/secret")],
    "POST /webhook-endpoints/{endpoint_id}/rotate-secret": [Ask(f"{_HOOK}/rotate-secret", {})],
    "POST /webhook-endpoints/{endpoint_id}/test": [Ask(f"{_HOOK}/test")],
    "POST /webhook-endpoints/{endpoint_id}/replay": [
        Ask(f"{_HOOK}/replay", {"since": "2026-01-01T00:00:00Z"})
    ],
    "GET /webhook-deliveries": _list(
        "/webhook-deliveries", "webhookEndpointId={webhook_endpoint}", *_BY_TENANT
    ),
    "GET /webhook-deliveries/{delivery_id}": [Ask("/webhook-deliveries/{webhook_delivery}")],
    "POST /webhook-deliveries/{delivery_id}/replay": [
        Ask("/webhook-deliveries/{webhook_delivery}/replay")
    ],
    "GET /alerts": _list("/alerts", *_BY_TENANT),
    "GET /alerts/{alert_id}": [Ask("/alerts/{alert}")],
    "POST /alerts/{alert_id}/resolve": [Ask("/alerts/{alert}/resolve")],
    # the workspace itself
    "POST /org-workspaces/{workspace}/access-token": [
        Ask("/org-workspaces/{workspace}/access-token", {"isAdmin": True}),
        Ask("/org-workspaces/{workspace}/access-token", {"tenantId": "{tenant}"}),
    ],
    "GET /workspace": [Ask("/workspace", lists=True)],
    "PATCH /workspace": [Ask("/workspace", {"name": "Mine"}, lists=True)],
    "POST /workspace/rotate-secret": [Ask("/workspace/rotate-secret", {}, lists=True)],
    # events
    "GET /app-events": _list("/app-events", "appEventTypeId={app_event_type_id}", *_BY_TENANT[:2]),
    "POST /app-events": [
        Ask("/app-events", {"type": "{app_event_type}", "event": {}}),
        Ask("/app-events", {"type": "{app_event_type}", "events": [], "tenantKey": "{tenant_key}"}),
        Ask("/app-events", {"type": "{app_event_type}", "event": {}, "tenantId": "{tenant_id}"}),
    ],
    "GET /app-events/{event_id}": [Ask("/app-events/{app_event}")],
    "POST /app-event-types/{selector}/rotate-webhook-key": [
        Ask("/app-event-types/{app_event_type}/rotate-webhook-key", {})
    ],
    "GET /app-event-subscriptions": _list(
        "/app-event-subscriptions", "appEventTypeId={app_event_type_id}", *_BY_TENANT[:2]
    ),
    **{
        f"{method} /app-event-subscription{below}": [
            Ask(f"/app-event-subscription{below}?id={{app_event_subscription}}"),
            Ask(f"/app-event-subscription{below}?{_TYPE}&tenantId={{tenant}}"),
        ]
        for method, below in _SUBSCRIBING
    },
    **{
        f"{method} /app-event-subscriptions/{{subscription}}{below}": [
            Ask(f"/app-event-subscriptions/{{app_event_subscription}}{below}")
        ]
        for method, below in _SUBSCRIBING
    },
    "POST /app-event-subscription": [Ask(f"{_SELECTED}&instanceKey=new", {})],
    "PUT /app-event-subscription": [Ask(_SELECTED, {})],
    "PATCH /app-event-subscription": [Ask(_SELECTED, {})],
    "POST /app-event-subscription/restore": [
        Ask("/app-event-subscription/restore?id={app_event_subscription}")
    ],
    "POST /app-event-subscriptions/{subscription}/restore": [
        Ask("/app-event-subscriptions/{app_event_subscription}/restore")
    ],
    "GET /external-event-subscriptions": _list(
        "/external-event-subscriptions", _BY_CONNECTION[0], *_BY_TENANT[:2]
    ),
    **{
        f"{method} /external-event-subscriptions/{{subscription}}{below}": [
            Ask(f"/external-event-subscriptions/{{subscription}}{below}")
        ]
        for method, below in (
            ("GET", ""),
            *(("POST", f"/{what}") for what in ("setup", "subscribe", "unsubscribe")),
            *(("POST", f"/{what}") for what in ("resubscribe", "refresh-webhook", "pull-events")),
        )
    },
    **{
        route: asks
        for path, name, thing, more in (
            ("/external-event-log-records", "event_id", "external_event", ("/details",)),
            ("/incoming-webhooks", "webhook_id", "incoming_webhook", ("/details",)),
            ("/external-event-pulls", "pull_id", "pull", ()),
        )
        for route, asks in (
            (
                f"GET {path}",
                _list(
                    path,
                    "externalEventSubscriptionId={subscription_id}",
                    _BY_CONNECTION[0],
                    *_BY_TENANT[:2],
                ),
            ),
            *(
                (f"GET {path}/{{{name}}}{below}", [Ask(f"{path}/{{{thing}}}{below}")])
                for below in ("", *more)
            ),
        )
    },
    # data links
    "GET /data-link-table-instance/links": [Ask(_LINKS)],
    "POST /data-link-table-instance/links": [Ask(_LINKS, _LINK)],
    "DELETE /data-link-table-instance/links": [Ask(_LINKS, _LINK)],
    # configuration as code
    "GET /export": [Ask("/export", lists=True)],
    "POST /import": [
        Ask("/import" + query, {"items": [{"kind": "action", **item}]}, lists=True)
        for query, item in (
            ("", {"key": "{action_key}", "remove": True}),
            ("?dryRun=true", {"key": "{shared_action_key}", "remove": True, "revision": 99}),
            ("?dryRun=true", {"key": "x", "integrationKey": "{integration}", "spec": {}}),
        )
    ],
}

#: A specification that a new element of each kind may have.
SPECS: dict[str, dict[str, Any]] = {
    "action": {"type": "run-python", "config": {"function": "echo"}},
    "integration": {"connectorKey": "{shared_connector}"},
    "connector": {"apiClient": {"baseUri": "https://example.com"}},
    "external-app": {},
    "data-source": {"collectionKey": "deals"},
    "field-mapping": {"importValue": {"title": {"$var": "$.fields.title"}}},
    "flow": {"nodes": {"start": {"type": "api-trigger"}}},
    "app-data-schema": {"schema": {"type": "object"}},
    "app-event-type": {},
    "data-link-table": {},
    "package": {"elements": [{"type": "action", "key": "echo"}]},
    "screen": {"type": "integration", "blocks": [{"type": "action", "key": "echo"}]},
}
for _plural, _thing in (("connectors", "{shared_connector}"), ("packages", "{package}")):
    _versions = f"/{_plural}/{_thing}/versions"
    ASKS |= {
        f"GET /{_plural}/{{selector}}/versions": [Ask(_versions)],
        f"POST /{_plural}/{{selector}}/versions": [Ask(_versions, {"version": "1.0.0"})],
        f"GET /{_plural}/{{selector}}/versions/{{version}}": [Ask(f"{_versions}/latest")],
        f"DELETE /{_plural}/{{selector}}/versions/{{version}}": [Ask(f"{_versions}/1.0.0")],
    }
ASKS |= {
    "POST /packages/{selector}/apply": [
        Ask("/packages/{package}/apply", {}),
        Ask("/packages/{package}/apply?dryRun=true", {"integrationKey": "{integration}"}),
    ],
}


def _element_asks(kind: Any) -> Iterator[tuple[str, list[Ask]]]:
    """Yield the routes of one kind of element, as runtime/api/routes/elements.py makes them."""
    thing = f"{{{kind.name.replace('-', '_')}}}"
    new = {"key": "mine", "name": "Mine", **SPECS[kind.name]}
    lists = [f"/{kind.plural}"]
    for where in ("integration", "connection"):
        if where in kind.layers:
            new["key"] = "theirs"
            lists.append(f"/{where}s/{{{where}}}/{kind.plural}")
    for path in lists:
        yield (
            f"GET {path}",
            _list(path, *_BY_CONNECTION, f"parentId={thing[:-1]}_id}}", *_BY_TENANT[:1]),
        )
        yield f"POST {path}", [Ask(path, body) for body in _new_bodies(kind, thing, new)]
    singles = {f"/{kind.singular}": (f"/{kind.singular}", f"?id={thing}")}
    singles |= {f"{path}/{{selector}}": (f"{path}/{thing}", "") for path in lists}
    for route, (path, query) in singles.items():
        more = ["connectionId={connection}", "tenantId={tenant}"]
        more += ["layer=tenant"] if "tenant" in kind.layers else []
        yield (
            f"GET {route}",
            [
                Ask(path + query),
                *(Ask(f"{path}{query}{'&' if query else '?'}{each}") for each in more),
            ],
        )
        yield f"PATCH {route}", [Ask(path + query, {"name": "Mine"})]
        yield f"PUT {route}", [Ask(path + query, new)]
        yield f"DELETE {route}", [Ask(path + query)]
        for verb in ("restore", "reset", "setup"):
            yield f"POST {route}/{verb}", [Ask(f"{path}/{verb}{query}")]
        if kind.name == "field-mapping":
            yield f"GET {route}/app-schema", [Ask(f"{path}/app-schema{query}")]


def _instance_asks(kind: Any) -> Iterator[tuple[str, list[Ask]]]:
    """Yield the routes of one kind's instances, as runtime/api/routes/instances.py makes them."""
    one, several = f"/{kind.singular}-instance", f"/{kind.singular}-instances"
    name = kind.name.replace("-", "_")
    parent = f"{{{'shared_' if 'tenant' in kind.layers else ''}{name}}}"
    here = "&connectionId={connection}" if kind.instances == "connection" else "&autoCreate=true"
    by_parent = f"{one}?parentId={parent}{here}"
    new = {"name": "Mine"}
    yield (
        f"GET {several}",
        _list(several, *_BY_CONNECTION, *_BY_TENANT[:2], f"parentId={{{name}_instance}}"),
    )
    # Where nothing tells whose it is, it is the caller's own.
    whose = {"connectionId": "{connection}"} if kind.instances == "connection" else {}
    made = [Ask(several, {"parentId": parent, "instanceKey": "x", **new, **whose})]
    yield f"POST {several}", made
    yield f"POST {one}", [Ask(f"{by_parent}&instanceKey=y", new)]
    for route, path, query in (
        (one, one, f"?id={{{name}_instance}}"),
        (f"{several}/{{selector}}", f"{several}/{{{name}_instance}}", ""),
    ):
        yield f"GET {route}", [Ask(path + query), *([Ask(by_parent)] if query else [])]
        yield f"PATCH {route}", [Ask(path + query, new)]
        yield f"PUT {route}", [Ask(path + query, {**SPECS[kind.name], **new})]
        yield f"DELETE {route}", [Ask(path + query)]
        for verb in ("restore", "reset", "setup"):
            yield f"POST {route}/{verb}", [Ask(f"{path}/{verb}{query}")]
    if kind.name == "flow":
        latest = "update-to-latest-flow"
        yield f"POST {several}/{{selector}}/{latest}", [Ask(f"{path}/{latest}")]


def _relation_asks(kind: Any) -> Iterator[tuple[str, list[Ask]]]:
    """Yield the routes of one kind, as runtime/api/routes/element_relations.py makes them."""
    thing = f"{{{kind.name.replace('-', '_')}}}"
    for route, path, query in (
        (f"/{kind.plural}/{{selector}}", f"/{kind.plural}/{thing}", ""),
        (f"/{kind.singular}", f"/{kind.singular}", f"?id={thing}"),
    ):
        yield f"POST {route}/clone", [Ask(f"{path}/clone{query}", {"name": "Mine"})]
        yield f"POST {route}/refresh", [Ask(f"{path}/refresh{query}")]
        for name in ("export", "dependencies"):
            yield f"GET {route}/{name}", [Ask(f"{path}/{name}{query}")]


def _layer_asks(kind: Any) -> Iterator[tuple[str, list[Ask]]]:
    """Yield the routes of one kind of element, as runtime/api/routes/layers.py makes them."""
    thing = f"{{{kind.name.replace('-', '_')}}}"
    path = f"/{kind.plural}/{thing}/diff"
    more = ("connectionId={connection}", "tenantId={tenant}")
    yield (
        f"GET /{kind.plural}/{{selector}}/diff",
        [Ask(path), *(Ask(f"{path}?{each}") for each in more)],
    )
    # What a tenant made itself is changed by that tenant alone, so its impact is nobody's question.
    shared = thing.replace("{", "{shared_") if "tenant" in kind.layers else thing
    yield (
        f"POST /{kind.plural}/{{selector}}/impact",
        [Ask(f"/{kind.plural}/{shared}/impact", {"patch": {"name": "Mine"}})],
    )


def _new_bodies(kind: Any, thing: str, new: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a new element may be made of that names something of acme's."""
    yield {"parentId": thing, "name": "Mine"}
    if "connection" in kind.layers:
        yield {**new, "connectionId": "{connection}"}
        yield {**new, "key": "others", "connectionKey": "{connection_key}"}


for _kind in KINDS.values():
    ASKS.update(_element_asks(_kind))
    ASKS.update(_layer_asks(_kind))
    ASKS.update(_relation_asks(_kind))
    if _kind.instances is not None:
        ASKS.update(_instance_asks(_kind))


def routes_of(app: Any) -> set[str]:
    """Return every route of an app as `METHOD path`, those of included routers too."""
    return {
        f"{method} {route.path}"
        for route in _walk(app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    }


def _walk(routes: Any) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _walk(route.effective_candidates())
        else:
            yield route
