"""Operators that have to be told: data links, records of the app, schemas, and JSONata.

What they ask is answered by whoever runs the template (`runtime.actions.lookups`); elsewhere, as
in the cost of an action, they are refused.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Final

import orjson
from jsonata import Jsonata

from runtime.formulas.conversion import as_text
from runtime.formulas.likeness import is_nothing
from runtime.formulas.questions import Question, Refusal
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = [
    "SCHEMA_KINDS",
    "data_schema_ref",
    "find_app_record_id",
    "find_external_record_id",
    "jsonata",
    "lookup",
]

#: What `$dataSchemaRef` may refer to; the second is the contract's older name of the third.
SCHEMA_KINDS: Final = ("data-collection", "internal-data-schema", "app-data-schema")
#: Characters of a JSONata expression, and bytes of the variables that it sees.
_LONGEST = 10_000
_LARGEST = 8_000_000
_LOOKUP = frozenset({"query", "createIfNotFound", "create", "dataSource"})


def find_external_record_id(argument: Source) -> Step:
    """`{"$findExternalRecordId": {"dataLinkTable": {"key": "people"}, "recordId": …}}`.

    The id of the app's record that is linked to the product's record with this id, for export.
    """
    return _linked(argument, "export")


def find_app_record_id(argument: Source) -> Step:
    """`{"$findAppRecordId": {"dataLinkTable": {"key": "people"}, "recordId": …}}`.

    The id of the product's record that is linked to the app's record with this id, for import.
    """
    return _linked(argument, "import")


def _linked(argument: Source, direction: str) -> Step:
    table = _table_key(argument)
    place = _required(argument, "recordId", "a record's id, or a formula that gives one")
    record_id = place.compile_to_read()

    def run(state: State) -> Any:
        value = record_id(state)
        if is_nothing(value) or value == "":
            return UNDEFINED
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            place.refuse(
                f"{place.operator} needs a text or a number as `recordId`.", found=kind_of(value)
            )
        text = value if isinstance(value, str) else as_text(value, state.budget)
        if text is None or not _is_storable(text):
            return UNDEFINED
        asked = (table, direction, text)
        return _told(argument, state, Question("data-link", asked, asked, argument.path))

    _asks(argument)
    return run


def _is_storable(text: str) -> bool:
    """Return whether the database could hold a text; what it cannot hold is linked to nothing."""
    return "\x00" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _table_key(argument: Source) -> str:
    name = argument.operator
    _object(argument, f"{name} takes an object with `dataLinkTable` and `recordId`.")
    table = argument.at("dataLinkTable")
    key = table.value
    if isinstance(key, dict) and not table.is_formula:
        table = table.at("key")
        key = table.value
    if not isinstance(key, str) or not key:
        table.refuse(f'{name} names its table as `"dataLinkTable": {{"key": "people"}}`.')
    return key


def lookup(argument: Source) -> Step:
    """`{"$lookup": {"query": {"email": …}}}`: the id of the related record with these fields.

    `createIfNotFound` and `create.fields` make one where there is none. `dataSource` says where to
    look; without it, that is the `referenceCollection` of the field that the formula stands for.
    """
    _object(argument, "$lookup takes an object with a `query`.")
    unknown = [key for key in argument.value if key not in _LOOKUP]
    if unknown:
        argument.refuse(
            f"$lookup takes {', '.join(sorted(_LOOKUP))}.", found=f"the member {unknown[0]!r:.100}"
        )
    _required(argument, "query", "the fields to look for")
    steps = {name: argument.at(name).compile() for name in argument.value}

    def run(state: State) -> Any:
        asked = {name: step(state) for name, step in steps.items()}
        asked = {name: value for name, value in asked.items() if value is not UNDEFINED}
        query = asked.get("query")
        if is_nothing(query):
            return UNDEFINED
        if not isinstance(query, dict):
            argument.at("query").refuse("$lookup needs an object of fields.", found=kind_of(query))
        for name in ("dataSource", "create"):
            if not isinstance(asked.get(name, {}), dict):
                argument.at(name).refuse(f"$lookup needs an object as its `{name}`.")
        key = (argument.path, _digest(argument, asked))
        return _told(argument, state, Question("lookup", key, asked, argument.path))

    _asks(argument)
    return run


def data_schema_ref(argument: Source) -> Step:
    """`{"$dataSchemaRef": {"type": "data-collection", "key": "contacts"}}`: a schema, by name.

    Of a collection's fields over the run's connection, or an app data schema of the workspace.
    """
    _object(argument, "$dataSchemaRef takes an object with `type` and `key`.")
    kind = argument.at("type")
    if kind.value not in SCHEMA_KINDS:
        kind.refuse(f"The `type` of a $dataSchemaRef is one of {', '.join(SCHEMA_KINDS)}.")
    place = _required(argument, "key", "the schema's key")
    key = place.compile_to_read()
    parameters = argument.at("parameters")
    given = None if parameters.value is UNDEFINED else parameters.compile_to_read()

    def run(state: State) -> Any:
        name = key(state)
        if is_nothing(name):
            return UNDEFINED
        if not isinstance(name, str):
            place.refuse("$dataSchemaRef needs a text as `key`.", found=kind_of(name))
        if given is not None:
            given(state)  # a schema does not depend on it yet, but what is wrong in it is said
        asked = (kind.value, name)
        return _told(argument, state, Question("data-schema", asked, asked, argument.path))

    _asks(argument)
    return run


def jsonata(argument: Source) -> Step:
    """`{"$jsonata": "$sum(input.lines.price)"}`: what a JSONata expression makes of the variables.

    It is evaluated in a process of its own, with limits of time and memory. An expression that
    fails is an error; the published evaluator gives nothing for it.
    """
    expression = argument.value
    if not isinstance(expression, str):
        argument.refuse('$jsonata takes an expression such as "$sum(input.lines.price)".')
    if len(expression) > _LONGEST:
        argument.refuse(
            f"A JSONata expression has at most {_LONGEST:,} characters.", found="a longer one"
        )
    if (fault := _fault_of(expression)) is not None:
        argument.refuse(f"The JSONata cannot be read: {fault}", found="such an expression")

    def run(state: State) -> Any:
        frames = _frames(argument, state)
        key = (expression, frames[0][0])
        return _told(argument, state, Question("jsonata", key, (expression, frames), argument.path))

    _asks(argument)
    return run


@functools.lru_cache(maxsize=2048)
def _fault_of(expression: str) -> str | None:
    """Return what is wrong with the text of an expression."""
    try:
        Jsonata(expression)
    except RecursionError:
        return "it nests too deep."
    except Exception as error:  # noqa: BLE001 - the parser meets hostile text with errors of all kinds
        return f"{error}."[:300]
    return None


#: The variables that an expression sees, then those of the `$iterate` around it, and so on: each
#: by a digest and as JSON. Thousands of items share what is around them.
Frames = tuple[tuple[str, bytes], ...]


def _frames(argument: Source, state: State) -> Frames:
    frames: list[tuple[str, bytes]] = []
    chain = []
    place: State | None = state
    while place is not None:
        chain.append(place)
        place = place.outer
    for each in reversed(chain):
        if each.frame is None:
            own = dict(each.variables)
            if each.outer is not None:
                own.pop("parent", None)
            body = _json(argument, own)
            state.budget.read_bytes(len(body))
            above = frames[-1][0] if frames else ""
            each.frame = (hashlib.sha256(above.encode() + body).hexdigest(), body)
        frames.append(each.frame)
    return tuple(reversed(frames))


def _json(argument: Source, value: Any) -> bytes:
    try:
        body = orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        argument.refuse(
            "$jsonata sees the variables as JSON, and these nest too deep for it.",
            found="variables that are no JSON",
        )
    if len(body) > _LARGEST:
        argument.refuse(
            f"$jsonata sees {_LARGEST:,} bytes of variables at most.", found=f"{len(body):,} bytes"
        )
    return body


def _digest(argument: Source, value: Any) -> str:
    try:
        return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (TypeError, orjson.JSONEncodeError):
        argument.refuse(f"{argument.operator} takes JSON.", found="values that nest too deep")


def _told(argument: Source, state: State, question: Question) -> Any:
    """Return the answer to a question, UNDEFINED as long as it is not known."""
    state.budget.visit(1)
    if state.notes is None:
        argument.refuse(
            f"{argument.operator} has to look something up, which is not done here.",
            found=str(argument.operator),
        )
    told = state.notes.answer(question)
    if isinstance(told, Refusal):
        argument.refuse(f"{argument.operator}: {told.message}", found=told.found)
    return told


def _asks(argument: Source) -> None:
    argument.compiler.note_asking(argument)


def _object(argument: Source, wants: str) -> None:
    if not isinstance(argument.value, dict) or argument.is_formula:
        argument.refuse(wants)


def _required(argument: Source, name: str, what: str) -> Source:
    place = argument.at(name)
    if place.value is UNDEFINED:
        place.refuse(f"{argument.operator} needs {what} as its `{name}`.")
    return place
