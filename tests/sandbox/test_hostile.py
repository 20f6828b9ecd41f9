"""Code that means harm costs its own run only, and soon ends: nothing else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from runtime.clock import monotonic
from runtime.errors import CustomCodeError, RunTimedOutError, VesicleError
from runtime.sandbox.conversation import Answer
from tests.waiting import eventually

ENDLESS = {
    "loop": "while (true) {}",
    "loop in a promise": "await null; while (true) {}",
    "loop in then": "await Promise.resolve().then(() => { while (true) {} })",
    "promises without end": "for (;;) await null",
    "chain of promises": "const f = () => Promise.resolve().then(f); await f()",
    "loop that catches": "for (;;) { try { for (;;) {} } catch {} finally { for (;;) {} } }",
    "regex": "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
    "regex by replace": "return 'a'.repeat(40).replace(/(a*)*b/, '')",
    "getter of the result": "return { get a() { while (true) {} } }",
    "toJSON": "return { toJSON() { while (true) {} } }",
    "proxy": "return new Proxy({}, { ownKeys() { while (true) {} } })",
    "thenable": "return { then() { while (true) {} } }",
    "iterator": "return Array.from({ [Symbol.iterator]: () => ({ next: () => ({}) }) })",
    "error's message": "throw { get message() { while (true) {} } }",
    "error's toString": "throw { name: { toString() { while (true) {} } }, message: 'm' }",
    "sort": "return [3, 2, 1].sort(() => { while (true) {} })",
    "big number": "let n = 3n; for (;;) n *= n; ",
    "timer": "setTimeout(() => { while (true) {} }, 1); await new Promise(() => {})",
    "patched queue": "Array.prototype.shift = () => { while (true) {} }; return 1",
    "endless log": "Array.prototype.shift = () => 'L{}'; return 1",
    "generator": "return [...(function* () { for (;;) yield 1 })()]",
    "eval": "return eval('while (true) {}')",
    "finalizer": "new FinalizationRegistry(() => { while (true) {} }).register({}, 1); for (;;) {}",
}

MEMORY = {
    "array": "const a = []; for (;;) a.push('x'.repeat(1e5) + a.length)",
    "one text": "return 'x'.repeat(2 ** 29)",
    "doubling text": "let s = 'x'; for (;;) s += s",
    "buffer": "return new ArrayBuffer(2 ** 31)",
    "many buffers": "const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))",
    "sparse": "return new Array(2 ** 32 - 1).fill(1)",
    "json": "let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; return a",
    "map": "const m = new Map(); for (let i = 0; ; i++) m.set(i, {})",
    "promises": "const f = () => { Promise.resolve().then(f); Promise.resolve().then(f) }; f()",
    "timers": "for (;;) setTimeout(() => {}, 1e6)",
    "flat": "const a = []; a[0] = Array(5e5).fill(a); return a.flat(9)",
    "symbols": "const a = []; for (;;) a.push(Symbol('x'.repeat(1000) + a.length))",
    "catching": "const a = []; for (;;) { try { for (;;) a.push('x'.repeat(1e6) + 1) } catch {} }",
}

REFUSED = {
    "recursion": ("const f = () => f() + 1; return f()", "call stack"),
    "recursion by JSON": ("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a", "JSON"),
    "recursion by proxy": (
        "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return p.x",
        "call stack",
    ),
    "recursion by regex": ("return new RegExp('('.repeat(1e5) + ')'.repeat(1e5))", ""),
    "recursion by code": ("return eval('['.repeat(1e5) + ']'.repeat(1e5))", ""),
    "recursion by toString": ("const a = []; a.toString = () => `${a}`; return `${a}`", "stack"),
    "a cycle": ("const a = {}; a.a = a; return a", "circular"),
    "a big integer": ("return { a: 1n }", "JSON"),
    "a throwing getter": ("return { get a() { throw new Error('mine') } }", "mine"),
    "a throwing toJSON": ("return { toJSON() { throw new Error('mine') } }", "mine"),
    "toJSON of toJSON": ("const a = { toJSON: () => ({ a }) }; return a", "JSON"),
    "a revoked proxy": ("const r = Proxy.revocable({}, {}); r.revoke(); return r.proxy", ""),
    "a throwing proxy": (
        "return new Proxy({}, { get() { throw new Error('mine') } })",
        "mine",
    ),
    "an error that throws": ("throw { get message() { throw 1 } }", "cannot be read"),
    "an error that is a proxy": (
        "throw new Proxy({}, { get() { throw new Error('x') } })",
        "cannot be read",
    ),
    "a promise nobody settles": ("await new Promise(() => {})", "nobody settles"),
    "a thenable nobody settles": ("return { then() {} }", "nobody settles"),
    "too much output": ("return 'x'.repeat(6e6)", "bytes"),
    "a wait that blocks": (
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "block",
    ),
    "a file": ("return await import('/etc/passwd')", "no modules"),
    "the engine's module": ("return await import('qjs:std')", "no modules"),
    "a patched prototype": ("Object.prototype.then = (f) => f({}.x.y); return {}", ""),
    "a setter on a prototype": (
        "Object.defineProperty(Object.prototype, 'id', { set() { throw 1 } }); return process.env",
        "",
    ),
    "a patched JSON": ("JSON.stringify = () => { throw 1 }; return 1n", "JSON"),
    "a forged end": ("Array.prototype.shift = () => 'Rnonsense'; return 1", ""),
    "a forged message": ("Array.prototype.shift = () => 'Z1'; return 1", ""),
    "a forged call": ("Array.prototype.shift = () => 'C{}'; return 1", ""),
    "a forged line": ("Array.prototype.shift = () => 'L[1]'; return 1", ""),
    "too many calls": (
        "for (let i = 0; i < 200; i++) await Promise.race([externalApiClient.get('/slow'), 1])",
        "calls at once",
    ),
}


def _code(body: str) -> str:
    return f"export default async ({{ externalApiClient }}) => {{\n{body}\n}}"


async def _slow(_call):
    await asyncio.sleep(60)
    return Answer(200, {}, None)


@pytest.fixture
async def beside(runner):
    """After the test: the same sandbox serves another tenant at once."""
    runner.clients["externalApiClient"] = _slow
    assert await runner.run("export default () => 'ready'") == "ready"
    yield runner
    began = monotonic()
    assert await runner.run("export default () => ({}).x ?? 'fine'", tenant="globex") == "fine"
    assert monotonic() - began < 2


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
async def test_what_does_not_end_is_ended(beside, body):
    """Code that computes without end is ended when its processor time is over."""
    with pytest.raises((RunTimedOutError, CustomCodeError, TimeoutError)):
        await beside.run(_code(body), timeout=4)
    assert beside.took < 5


@pytest.mark.parametrize("body", MEMORY.values(), ids=MEMORY)
async def test_memory_has_an_end(beside, body):
    """Code that takes memory without end gets no more than its share."""
    with pytest.raises((RunTimedOutError, CustomCodeError)):
        await beside.run(_code(body), timeout=10)


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
async def test_tricks_are_errors(beside, body, message):
    """Code that tries to trip up what reads its result gets an error of its own."""
    with pytest.raises(VesicleError, match=f"(?s){message}"):
        await beside.run(_code(body))
    assert beside.took < 3


async def test_a_loop_says_where(runner):
    """Code that computes for too long learns in which line."""
    with pytest.raises(RunTimedOutError, match="processor time") as caught:
        await runner.run("export default () => {\n  for (;;)\n    Math.random();\n}")
    assert caught.value.data["lineNumber"] in (2, 3)


async def test_the_log_has_an_end(runner):
    """Ten million lines leave as many on record as the log may hold."""
    code = "export default () => { for (let i = 0; i < 1e7; i++) console.log('line', i) }"
    with contextlib.suppress(RunTimedOutError):
        await runner.run(code)
    assert 500 < len(runner.log) < 2000
    assert sum(len(line["message"]) for line in runner.log) <= 65_536
    assert runner.said()[-1].endswith("(the log is full)")


async def test_nothing_outlives_a_run(runner):
    """What code leaves behind in its world is gone for the next run, also of the same tenant."""
    await runner.run("globalThis.left = 1; Object.prototype.left = 2; module.exports = () => 1")
    code = "export default () => [globalThis.left, ({}).left].map(String)"
    assert await runner.run(code) == ["undefined", "undefined"]


async def test_each_run_has_its_own_chance(runner):
    """Random numbers do not repeat from run to run."""
    code = "export default () => Math.random()"
    assert len({await runner.run(code) for _ in range(5)}) == 5


async def test_there_is_nothing_to_reach(runner):
    """Code sees what the language has, and what it was given, and nothing else."""
    code = "export default () => Object.getOwnPropertyNames(globalThis).sort()"
    names = set(await runner.run(code))
    ours = {"console", "module", "exports", "require", "setTimeout", "clearTimeout"}
    assert ours <= names
    ambient = {"process", "Deno", "std", "os", "fetch", "WebAssembly", "print", "scriptArgs"}
    assert not ambient & names


@pytest.mark.parametrize("body", ["for (;;) {}", "await new Promise((r) => setTimeout(r, 1e6))"])
async def test_cancelling_kills(make_runner, body):
    """A run that is cancelled leaves no process behind, within a second."""
    runner = make_runner(sandbox_cpu=60.0)
    await runner.run("export default () => 1")
    nursery = runner.sandbox._nursery
    task = asyncio.create_task(runner.run(_code(body), timeout=60))
    await eventually(lambda: len(nursery._ready) == 1)
    began = monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Only those that wait for a run are left.
    await eventually(lambda: {child.number for child in nursery._ready} == set(nursery._living))
    assert monotonic() - began < 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_crash_costs_one_run(make_runner, number):
    """When the process of a run dies, that run fails and its neighbour does not."""
    runner = make_runner()
    await runner.run("export default () => 1")
    children = await eventually(runner.idle)
    waiting = "await new Promise((r) => setTimeout(r, 1000)); return 'fine'"
    victim = asyncio.create_task(runner.run(_code(waiting)))
    neighbour = asyncio.create_task(runner.run(_code(waiting), tenant="globex"))
    await eventually(lambda: not runner.sandbox._nursery._ready)
    os.kill(children[0], number)
    results = await asyncio.gather(victim, neighbour, return_exceptions=True)
    failed = [result for result in results if isinstance(result, CustomCodeError)]
    assert len(failed) == 1
    assert signal.Signals(number).name in failed[0].message
    assert "fine" in results


async def test_losing_the_nursery_costs_only_what_runs(make_runner):
    """When the process that makes processes dies, the next run finds a new one."""
    runner = make_runner()
    assert await runner.run("export default () => 1") == 1
    os.kill(runner.sandbox._nursery.process.pid, signal.SIGKILL)
    await eventually(lambda: runner.sandbox._nursery.is_gone)
    assert await runner.run("export default () => 2") == 2
