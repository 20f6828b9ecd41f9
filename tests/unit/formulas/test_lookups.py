"""Formulas that ask: what they ask, in how many rounds, and what becomes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas import UNDEFINED, answering, check, computed, evaluate
from runtime.formulas.questions import MAX_PASSES, Refusal

TABLE = {"dataLinkTable": {"key": "people"}}
ID = {"$var": "$.item.id"}


class Clerk:
    """Answers by a function, and keeps what it was asked, round by round."""

    def __init__(self, answer):
        self.answer = answer
        self.rounds: list[list[Any]] = []

    async def __call__(self, questions, fields):
        self.rounds.append([question.asked for question in questions])
        return {question: self.answer(question.asked) for question in questions}

    async def evaluate(self, template, variables=None):
        """Evaluate a template with the answers."""
        with answering(self):
            return await computed(lambda: evaluate(template, variables or {}))


def linked(asked):
    """Say that every record is linked to one with a sign in front."""
    return f"{asked[1][0]}-{asked[2]}"


async def test_a_linked_record_is_asked_for():
    """By table, way and id; the answer takes the formula's place."""
    clerk = Clerk(linked)
    template = {
        "out": {"$findExternalRecordId": {**TABLE, "recordId": {"$var": "$.id"}}},
        "in": {"$findAppRecordId": {"dataLinkTable": "people", "recordId": 7}},
    }
    assert await clerk.evaluate(template, {"id": "p1"}) == {"out": "e-p1", "in": "i-7"}
    assert clerk.rounds == [[("people", "export", "p1"), ("people", "import", "7")]]


async def test_a_thousand_items_are_one_question():
    """What is asked inside `$iterate` is asked at once, and the same thing once."""
    clerk = Clerk(linked)
    items = [{"id": f"p{number % 500}"} for number in range(1000)]
    template = {
        "$iterate": {
            "source": {"$var": "$.items"},
            "item": {"$findExternalRecordId": {**TABLE, "recordId": ID}},
        }
    }
    found = await clerk.evaluate(template, {"items": items})
    assert found == [f"e-p{number % 500}" for number in range(1000)]
    assert [len(asked) for asked in clerk.rounds] == [500]


async def test_what_was_looked_up_can_be_looked_up_by():
    """An answer that another question needs makes a second round; the rest is asked once."""
    clerk = Clerk(linked)
    inner = {"$findExternalRecordId": {**TABLE, "recordId": "p1"}}
    template = [{"$findExternalRecordId": {**TABLE, "recordId": inner}}, inner]
    assert await clerk.evaluate(template) == ["e-e-p1", "e-p1"]
    assert [len(asked) for asked in clerk.rounds] == [1, 1]


async def test_an_error_before_the_answer_is_there_does_not_count():
    """What fails for want of an answer is computed anew; what fails with it is an error."""
    template = {"$mergeObjects": [{"$firstNotEmpty": [{"$jsonata": "x"}, 1]}]}
    assert await Clerk(lambda _: {"a": 1}).evaluate(template) == {"a": 1}
    with pytest.raises(ConfigurationError, match="needs objects"):
        await Clerk(lambda _: "text").evaluate(template)


async def test_lookups_end():
    """A template in which answers always lead to further questions is refused."""
    template: Any = "p"
    for _ in range(MAX_PASSES + 1):
        template = {"$findAppRecordId": {**TABLE, "recordId": template}}
    with pytest.raises(ConfigurationError, match="more than 8 times"):
        await Clerk(linked).evaluate(template)


@pytest.mark.parametrize("nothing", [{"$var": "$.missing"}, None, ""])
async def test_nothing_is_not_looked_up(nothing):
    """Without an id there is no question, and nothing comes of it."""
    clerk = Clerk(linked)
    template = {"$findAppRecordId": {**TABLE, "recordId": nothing}}
    assert await clerk.evaluate(template) is UNDEFINED
    assert clerk.rounds == []


async def test_jsonata_sees_the_variables_and_those_around():
    """Each item's own are sent with the item, those around it once."""
    clerk = Clerk(lambda asked: asked[1][0][0])
    template = {
        "$iterate": {"source": {"$var": "$.items"}, "item": {"$jsonata": "item * parent.rate"}}
    }
    found = await clerk.evaluate(template, {"items": [1, 2], "rate": 3})
    assert len(set(found)) == 2
    (asked,) = clerk.rounds
    assert [expression for expression, _ in asked] == ["item * parent.rate"] * 2
    (own, around), (_, same) = (frames for _, frames in asked)
    assert own[1] == b'{"item":1,"index":0}'
    assert around == same
    assert around[1] == b'{"items":[1,2],"rate":3}'


async def test_a_refusal_is_an_error_at_the_place():
    """What whoever answers says is wrong is told with the formula's path."""
    clerk = Clerk(lambda _: Refusal("there is no data link table 'people'.", "the key 'people'"))
    with pytest.raises(ConfigurationError) as caught:
        await clerk.evaluate({"a": [{"$findAppRecordId": {**TABLE, "recordId": "1"}}]})
    assert caught.value.data == {
        "path": "/a/0/$findAppRecordId",
        "operator": "$findAppRecordId",
        "found": "the key 'people'",
    }
    assert "there is no data link table" in caught.value.message


async def test_where_nobody_answers_asking_is_an_error():
    """A cost, say, is computed where nothing can be looked up; that is said when it is saved."""
    template = {"units": {"$jsonata": "1 + 1"}}
    with pytest.raises(ConfigurationError, match="look something up") as caught:
        evaluate(template, {})
    assert caught.value.data["path"] == "/units/$jsonata"
    with pytest.raises(ConfigurationError, match="look something up"):
        check(template, may_ask=False)
    check(template)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"$jsonata": 1}, "/$jsonata"),
        ({"$jsonata": "("}, "/$jsonata"),
        ({"$jsonata": "a" * 10_001}, "/$jsonata"),
        ({"$jsonata": "(" * 9_000}, "/$jsonata"),
        ({"$jsonata": "/(/"}, "/$jsonata"),
        ({"$findAppRecordId": "x"}, "/$findAppRecordId"),
        ({"$findAppRecordId": {"recordId": 1}}, "/$findAppRecordId/dataLinkTable"),
        (
            {"$findAppRecordId": {"dataLinkTable": {"key": 1}, "recordId": 1}},
            "/$findAppRecordId/dataLinkTable/key",
        ),
        ({"$findExternalRecordId": TABLE}, "/$findExternalRecordId/recordId"),
        ({"$lookup": []}, "/$lookup"),
        ({"$lookup": {}}, "/$lookup/query"),
        ({"$lookup": {"query": {}, "colection": "x"}}, "/$lookup"),
        ({"$dataSchemaRef": {"key": "x"}}, "/$dataSchemaRef/type"),
        ({"$dataSchemaRef": {"type": "table", "key": "x"}}, "/$dataSchemaRef/type"),
        ({"$dataSchemaRef": {"type": "data-collection"}}, "/$dataSchemaRef/key"),
    ],
)
def test_what_cannot_work_is_found_before_it_is_used(template, path):
    """Each says where, and of what."""
    with pytest.raises(ConfigurationError) as caught:
        check(template)
    assert caught.value.data["path"] == path
    assert caught.value.data["operator"] == next(iter(template))


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (
            {"$findAppRecordId": {**TABLE, "recordId": {"$var": "$.list"}}},
            "/$findAppRecordId/recordId",
        ),
        ({"$lookup": {"query": {"$var": "$.list"}}}, "/$lookup/query"),
        (
            {"$lookup": {"query": {"a": 1}, "dataSource": {"$var": "$.list"}}},
            "/$lookup/dataSource",
        ),
        (
            {"$dataSchemaRef": {"type": "data-collection", "key": {"$var": "$.list"}}},
            "/$dataSchemaRef/key",
        ),
    ],
)
async def test_what_turns_out_wrong_is_an_error_with_its_place(template, path):
    """What only the variables show."""
    with pytest.raises(ConfigurationError) as caught:
        await Clerk(linked).evaluate(template, {"list": [1]})
    assert caught.value.data["path"] == path
