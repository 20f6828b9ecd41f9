"""The fakes for a product's own tests."""

from __future__ import annotations

import pytest

from vesicle import NotFound, RateLimitExceeded
from vesicle.testing import ActionCall, FakeAsyncVesicle, FakeVesicle


@pytest.fixture
def fake():
    with FakeVesicle() as fake:
        yield fake


def test_programmed_outputs_differ_by_tenant(fake):
    """An action answers what was programmed for its tenant, else what was programmed for all."""
    fake.program("list-deals", {"deals": []})
    fake.program("list-deals", lambda call: {"echo": call.input}, tenant="globex")

    assert fake.tenant("acme").action("list-deals").run().output == {"deals": []}
    assert fake.tenant("globex").action("list-deals").run([1]).output == {"echo": [1]}


def test_calls_are_kept(fake):
    """What the product asked for can be asserted on, each idempotency key once."""
    fake.program("list-deals", 1)
    acme = fake.tenant("acme")

    first = acme.action("list-deals").run({"a": 1}, connection="mine", idempotency_key="k1")
    again = acme.action("list-deals").run({"a": 1}, connection="mine", idempotency_key="k1")
    acme.connection("c").action("list-deals").enqueue({"b": 2}, idempotency_key="k2")

    assert first == again
    assert fake.calls == [
        ActionCall("acme", "list-deals", {"a": 1}, "mine", "k1", enqueued=False),
        ActionCall("acme", "list-deals", {"b": 2}, "c", "k2", enqueued=True),
    ]


def test_programmed_errors_are_raised_as_they_would_be(fake):
    """A programmed error arrives over run and over wait, with its class and its details."""
    error = RateLimitExceeded("Slow down.", data={"limit": 5})
    error.retry_after = 9.0
    fake.program("list-deals", error)
    action = fake.tenant("acme").action("list-deals")

    with pytest.raises(RateLimitExceeded, match="Slow down") as caught:
        action.run()
    assert (caught.value.data, caught.value.retry_after) == ({"limit": 5}, 9.0)

    handle = action.enqueue()
    with pytest.raises(RateLimitExceeded):
        handle.wait()


def test_what_is_not_programmed_is_not_found(fake):
    """A forgotten action fails the test with its name instead of an invented result."""
    with pytest.raises(NotFound, match="'forgotten'"):
        fake.tenant("acme").action("forgotten").run()


def test_the_fake_keeps_tenants_apart(fake):
    """Runs and connections of one tenant are not found by another."""
    fake.program("list-deals", 1)
    fake.give_connections("acme", [{"id": "c1", "integrationKey": "crm"}])
    handle = fake.tenant("acme").action("list-deals").enqueue()

    assert fake.tenant("acme").run(handle.id).wait().output == 1
    assert [c["id"] for c in fake.tenant("acme").connections.find()] == ["c1"]
    assert len(fake.tenant("globex").connections.find()) == 0
    assert len(fake.tenant("globex").runs.find()) == 0
    with pytest.raises(NotFound):
        fake.tenant("globex").run(handle.id).get()


async def test_the_async_fake_is_the_same():
    """FakeAsyncVesicle answers alike under await."""
    async with FakeAsyncVesicle() as fake:
        fake.program("list-deals", {"deals": []})
        acme = fake.tenant("acme")

        handle = await acme.action("list-deals").enqueue()

        assert (await handle.wait()).output == {"deals": []}
        assert [call.tenant for call in fake.calls] == ["acme"]
