"""Not run but type-checked, by test_package.py: what a type checker makes of both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from vesicle import AsyncVesicle, Blocking, Page, Run, RunHandle, RunResult, Vesicle
from vesicle.records import ActionRecord, ConnectionRecord, FlowRecord, TenantRecord


def blocking(vesicle: Vesicle) -> None:
    """The blocking client returns results."""
    acme = vesicle.tenant("acme", name="Acme Corp")
    assert_type(acme.self(), TenantRecord)
    assert_type(acme.action("k").run({}, timeout=5), RunResult)
    assert_type(acme.action("k").enqueue({}), RunHandle[Blocking])
    assert_type(acme.action("k").enqueue({}).wait(), RunResult)
    assert_type(acme.action("k").get(layer="effective", explain=True), ActionRecord)
    assert_type(acme.connections.find(), Page[ConnectionRecord])
    assert_type(acme.connections.find_all(), Iterator[ConnectionRecord])
    assert_type(acme.connection("c").action("k").run(), RunResult)
    assert_type(acme.flow("f").start({}), RunHandle[Blocking])
    assert_type(acme.flow("f").get(layer="effective"), FlowRecord)
    assert_type(acme.runs.find_all(), Iterator[Run])
    assert_type(vesicle.admin().tenants.find(), Page[TenantRecord])
    acme.action("k").run({}, tiemout=5)  # type: ignore[call-arg]  # a misspelling is found
    acme.action("k").get(layer="nearest")  # type: ignore[arg-type]  # a wrong word is found


async def concurrent(vesicle: AsyncVesicle) -> None:
    """The async client returns coroutines of the same results."""
    acme = vesicle.tenant("acme")
    assert_type(await acme.self(), TenantRecord)
    assert_type(await acme.action("k").run({}, timeout=5), RunResult)
    assert_type(await (await acme.action("k").enqueue({})).wait(), RunResult)
    assert_type(await acme.connections.find(), Page[ConnectionRecord])
    assert_type(acme.connections.find_all(), AsyncIterator[ConnectionRecord])
    acme.action("k").run({})  # type: ignore[unused-coroutine]  # a forgotten await is found
