"""Registered functions at their worst: the run ends with a clear error, the worker goes on."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from tests.bad_input.conftest import check_envelope

CANARY = "canary-7f3a"


def _cycle(given):
    held = []
    held.append(held)
    return held


def _deep(given):
    value = None
    for _ in range(given["levels"]):
        value = [value]
    return value


def _recurse(given):
    return _recurse(given)


def _raise(error):
    def function(given):
        raise error(CANARY)

    return function


async def _raise_late(given):
    await asyncio.sleep(0)
    raise LookupError(CANARY)


async def _leave(given):
    sys.exit(CANARY)


async def _stay(given):
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        raise RuntimeError(CANARY) from None


async def _hog(given):
    # A function that does not give the loop back is a mistake; a short one is survived.
    time.sleep(0.2)  # noqa: ASYNC251 - that is the mistake
    return "done"


class Opaque:
    """Something that is no JSON and whose text must not be asked for."""

    def __str__(self):
        raise RuntimeError(CANARY)


FUNCTIONS = {
    "cycle": _cycle,
    "deep": _deep,
    "raise": _raise(ValueError),
    "raise-late": _raise_late,
    "raise-timeout": _raise(TimeoutError),
    "raise-key": _raise(KeyError),
    "recurse": _recurse,
    "exit": _raise(SystemExit),
    "exit-late": _leave,
    "stay": _stay,
    "hog": _hog,
    "opaque": lambda given: Opaque(),
    "strange": lambda given: {"when": time.gmtime(0), 5: {1, 2}, "nul": "a\x00b", "half": "\ud800"},
    "wrong-arity": lambda: None,
}


@pytest.fixture(scope="module", autouse=True)
def _registered(worker):
    """The worker of the tests knows these functions for the length of the module."""
    known = worker.functions._functions
    known.update(FUNCTIONS)
    yield
    for name in FUNCTIONS:
        del known[name]


@pytest.mark.parametrize(
    ("name", "exception"),
    [
        ("raise", "ValueError"),
        ("raise-late", "LookupError"),
        ("raise-key", "KeyError"),
        ("raise-timeout", "TimeoutError"),
        ("recurse", "RecursionError"),
        ("exit", "SystemExit"),
        ("exit-late", "SystemExit"),
        ("wrong-arity", "TypeError"),
    ],
)
async def test_what_a_function_raises_is_named_and_not_quoted(shop, next_door, name, exception):
    """The error says which kind of exception it was; its text is nowhere, and the worker lives."""
    answer = await shop.run(await shop.function(name), {})
    body = check_envelope(answer, 400, "custom_code")
    assert exception in body["message"]
    await shop.assert_on_record(body["actionRunId"], "failed", body)
    row = await shop.row(body["actionRunId"])
    (record,) = await shop.records(body["actionRunId"])
    for shown in (answer.text, str(row), str(record)):
        assert CANARY not in shown


@pytest.mark.parametrize(("name", "given"), [("cycle", {}), ("deep", {"levels": 900})])
async def test_a_result_that_cannot_be_kept(shop, next_door, name, given):
    """A result that holds itself, or nests without end, fails its run once and for all."""
    answer = await shop.run(await shop.function(name), given)
    body = check_envelope(answer, 400, "custom_code")
    assert "cannot be stored" in body["message"]
    await shop.assert_on_record(body["actionRunId"], "failed", body)
    assert (await shop.row(body["actionRunId"]))["attempt"] == 1


async def test_a_deep_result_that_can_be_kept(shop):
    """A result of a hundred levels comes back as it is."""
    answer = await shop.run(await shop.function("deep"), {"levels": 100})
    assert answer.status_code == 200
    assert str(answer.json()["output"]).count("[") == 100


async def test_a_strange_result(shop):
    """What JSON does not know becomes text, and what PostgreSQL does not store is replaced."""
    answer = await shop.run(await shop.function("strange"), {})
    assert answer.status_code == 200, answer.text
    output = answer.json()["output"]
    assert output["nul"] == "a\ufffdb"
    assert output["5"] == [1, 2]
    assert output["half"] == "?"


async def test_a_result_whose_text_raises(shop):
    """A result that cannot even be turned into text fails its run."""
    answer = await shop.run(await shop.function("opaque"), {})
    body = check_envelope(answer, 400, "custom_code")
    assert CANARY not in answer.text
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_a_function_that_takes_too_long(shop, next_door):
    """A function that outlasts its action's timeout is ended."""
    answer = await shop.run(await shop.function("sleep", timeout=0.3), {"seconds": 30})
    body = check_envelope(answer, 504, "action_run", "timed_out")
    assert "0.3 s" in body["message"]
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_a_function_that_answers_its_end_with_an_exception(shop):
    """A function that raises when it is ended has failed, and its text is not shown either."""
    answer = await shop.run(await shop.function("stay", timeout=0.3), {})
    body = check_envelope(answer, 400, "custom_code")
    assert CANARY not in answer.text
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_a_function_that_blocks_the_loop(shop, next_door):
    """A coroutine that forgets to await delays others and breaks nothing."""
    answer = await shop.run(await shop.function("hog"), {})
    assert answer.json()["output"] == "done"


async def test_a_function_that_nobody_registered(shop):
    """An unknown function is an error of the configuration that lists what there is."""
    answer = await shop.run(await shop.function("nobody"), {})
    body = check_envelope(answer, 400, "configuration")
    assert "echo" in body["data"]["registered"]
    await shop.assert_on_record(body["actionRunId"], "failed", body)
