"""Answers what the formulas of a run ask: over its connection, for its tenant, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import orjson
from pydantic import BaseModel

from runtime.actions.collections import Collection, collection_of
from runtime.actions.operations import AppCalls
from runtime.config.data_links import linked_query
from runtime.config.resolve import Place, resolve
from runtime.config.store import ElementRow, layers_query
from runtime.connectors.definition import ConnectorDefinition
from runtime.db import Database
from runtime.errors import CustomCodeError, NotFoundError, RunTimedOutError
from runtime.formulas.questions import Answers, Question, Refusal
from runtime.formulas.undefined import UNDEFINED
from runtime.runs.states import Claim
from runtime.sandbox.batch import Batch
from runtime.sandbox.pool import Sandbox
from runtime.tenancy import Scope

__all__ = ["Calls", "LookupDesk", "creates_by_lookup", "related_collection"]

#: Records that are looked up in the app at the same time.
_AT_ONCE = 5
#: Expressions, and bytes of what they see, that one process evaluates.
_BATCH, _BATCH_BYTES = 5_000, 8_000_000

_NOWHERE = Refusal(
    "say where to look: by `dataSource.collectionKey`, or by a `referenceCollection` in the schema"
    " of the field.",
    "no collection",
)
_NOT_HERE = Refusal(
    "there is no such record, and none is created here; a find-or-create-data-record node does it.",
    "createIfNotFound",
)

#: Reaches the app, first to look and then to write.
Calls = Callable[[], Awaitable[tuple[AppCalls, AppCalls]]]


@dataclass(slots=True)
class LookupDesk:
    """Answers for one run, or for the nodes of one flow run."""

    database: Database
    sandbox: Sandbox
    claim: Claim
    #: The connector of the run's connection, and how to reach its app; None without a connection.
    definition: ConnectorDefinition | None
    calls: Calls | None
    #: Whether `$lookup` may create what it does not find.
    may_create: bool = True
    #: What was looked for and where -> the record that was created, as apps take time to find it.
    _created: dict[bytes, str] = field(default_factory=dict)

    async def __call__(
        self, questions: Sequence[Question], fields: Mapping[str, Any] | None
    ) -> Answers:
        """Return the answers. Raises what the app answers, and what the sandbox is refused."""
        answers: dict[Question, Any] = {}
        for kind, group in groupby(sorted(questions, key=_kind), key=_kind):
            alike = list(group)
            match kind:
                case "data-link":
                    answers |= await self._links(alike)
                case "data-schema":
                    answers |= await self._schemas(alike)
                case "jsonata":
                    answers |= await self._expressions(alike)
                case _:
                    answers |= await self._records(alike, fields)
        return answers

    # --- data links ---------------------------------------------------------------------------

    async def _links(self, questions: Sequence[Question]) -> Answers:
        if self.claim.connection_id is None:
            return dict.fromkeys(questions, _no_connection("data links belong to one"))
        owner, connection_id = self.claim.owner, self.claim.connection_id
        ways = sorted({question.asked[1] for question in questions})
        asked = [
            [question.asked for question in questions if question.asked[1] == way] for way in ways
        ]
        found = await self.database.ask(
            Scope.worker([owner]),
            *(
                linked_query(owner, connection_id, way, [(key, record) for key, _, record in some])
                for way, some in zip(ways, asked, strict=True)
            ),
        )
        told = {
            (row["table_key"], way, row["record_id"]): row
            for way, rows in zip(ways, found, strict=True)
            for row in rows
        }
        return {question: _linked(question, told) for question in questions}

    # --- schemas ------------------------------------------------------------------------------

    async def _schemas(self, questions: Sequence[Question]) -> Answers:
        answers: dict[Question, Any] = {}
        named = [question for question in questions if question.asked[0] != "data-collection"]
        for question in questions:
            if question not in named:
                answers[question] = self._collection_schema(question.asked[1])
        if not named:
            return answers
        owner = (self.claim.owner.workspace_id, self.claim.owner.tenant_id)
        queries = [
            layers_query(kind="app-data-schema", key=each.asked[1], owner=owner) for each in named
        ]
        rows = await self.database.ask(Scope.worker([self.claim.owner]), *queries)
        for question, layers in zip(named, rows, strict=True):
            element = resolve([ElementRow(**row) for row in layers], Place())
            answers[question] = _missing("app data schema", question.asked[1])
            if element is not None:
                answers[question] = element.spec["schema"]
        return answers

    def _collection_schema(self, key: str) -> Any:
        if self.definition is None:
            return _no_connection("data collections belong to one")
        try:
            schema = collection_of(self.definition, key).fields_schema
        except NotFoundError as error:
            return Refusal(error.message, f"the collection {key[:100]!r}")
        return UNDEFINED if schema is None else schema

    # --- JSONata ------------------------------------------------------------------------------

    async def _expressions(self, questions: Sequence[Question]) -> Answers:
        answers: dict[Question, Any] = {}
        for some, batch in _batches(questions):
            try:
                results = await self.sandbox.evaluate(batch, tenant=self.claim.owner.tenant_id)
            except (CustomCodeError, RunTimedOutError) as error:
                refusal = Refusal(error.message, "an expression that needs too much")
                answers |= dict.fromkeys(some, refusal)
                continue
            answers |= {
                question: _value(result) for question, result in zip(some, results, strict=True)
            }
        return answers

    # --- records of the app -------------------------------------------------------------------

    async def _records(
        self, questions: Sequence[Question], fields: Mapping[str, Any] | None
    ) -> Answers:
        if self.calls is None or self.definition is None:
            return dict.fromkeys(questions, _no_connection("records are looked up over one"))
        answers: dict[Question, Any] = {}
        places = asyncio.Semaphore(_AT_ONCE)

        async def answer(question: Question) -> None:
            async with places:
                answers[question] = await self._record(question, fields)

        async with asyncio.TaskGroup() as group:
            for question in questions:
                if not question.asked.get("createIfNotFound"):
                    group.create_task(answer(question))
        for question in questions:
            if question not in answers:
                await answer(question)
        return answers

    async def _record(self, question: Question, fields: Mapping[str, Any] | None) -> Any:
        asked = question.asked
        related = asked.get("dataSource") or related_collection(fields, question.path) or {}
        key = related.get("collectionKey") or related.get("key")
        if not isinstance(key, str):
            return _NOWHERE
        parameters = related.get("collectionParameters") or related.get("parameters") or {}
        sought = orjson.dumps([key, parameters, asked["query"]], option=orjson.OPT_SORT_KEYS)
        return self._created.get(sought) or await self._sought(asked, key, parameters, sought)

    async def _sought(
        self, asked: Mapping[str, Any], key: str, parameters: Any, sought: bytes
    ) -> Any:
        assert self.calls is not None  # noqa: S101 - `_records` has looked
        looks, writes = await self.calls()
        try:
            spec = collection_of(looks.definition, key)
        except NotFoundError as error:
            return Refusal(error.message, f"the collection {key[:100]!r}")
        collection = Collection(looks, key, spec, parameters)
        found = await collection.match(asked["query"])
        if found is not None or not asked.get("createIfNotFound"):
            return UNDEFINED if found is None else found.id
        if not self.may_create:
            return _NOT_HERE
        created = asked.get("create")
        new = created.get("fields") if isinstance(created, Mapping) else None
        record_id = await replace(collection, calls=writes).create(new or asked["query"])
        self._created[sought] = record_id
        return record_id


def related_collection(schema: Mapping[str, Any] | None, path: str) -> Mapping[str, Any] | None:
    """Return the `referenceCollection` of the field that a formula stands for, by its path."""
    place: Any = schema
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    for step in steps:
        if step == "$iterate":
            continue
        if step.startswith("$") or not isinstance(place, Mapping):
            break
        if step == "item" or step.isdecimal():
            place = place.get("items")
        else:
            properties = place.get("properties")
            place = properties.get(step) if isinstance(properties, Mapping) else None
    if isinstance(place, Mapping) and "referenceCollection" not in place:
        place = place.get("items", place)
    found = place.get("referenceCollection") if isinstance(place, Mapping) else None
    return found if isinstance(found, Mapping) else None


def creates_by_lookup(*templates: Any) -> bool:
    """Return whether a formula may create records, so that computing it is more than a look."""
    places = list(templates)
    while places:
        value = places.pop()
        if isinstance(value, BaseModel):
            places += vars(value).values()
        elif isinstance(value, Mapping):
            asked = value.get("$lookup")
            if isinstance(asked, Mapping) and asked.get("createIfNotFound"):
                return True
            places += value.values()
        elif isinstance(value, list):
            places += value
    return False


def _batches(questions: Sequence[Question]) -> Iterator[tuple[list[Question], Batch]]:
    some: list[Question] = []
    batch = Batch()
    for question in questions:
        if some and (batch.count >= _BATCH or batch.size > _BATCH_BYTES):
            yield some, batch
            some, batch = [], Batch()
        some.append(question)
        batch.add(*question.asked)
    yield some, batch


def _value(result: Mapping[str, Any]) -> Any:
    if "error" in result:
        message = str(result["error"]).rstrip(".")
        return Refusal(f"{message}.", "an expression that fails")
    return result.get("value", UNDEFINED)


def _linked(question: Question, told: Mapping[Any, Mapping[str, Any]]) -> Any:
    row = told.get(question.asked)
    if row is None or not row["has_table"]:
        return _missing("data link table", question.asked[0])
    return UNDEFINED if row["found"] is None else row["found"]


def _missing(what: str, key: str) -> Refusal:
    return Refusal(f"there is no {what} {key[:100]!r}.", f"the key {key[:100]!r}")


def _no_connection(why: str) -> Refusal:
    return Refusal(f"the run has no connection, and {why}.", "no connection")


def _kind(question: Question) -> str:
    return question.kind
