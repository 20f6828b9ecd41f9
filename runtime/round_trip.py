"""Several statements as one transaction in one round trip, by libpq's pipeline mode.

What is sent without BEGIN, up to a sync, is one transaction. This is psycopg's own `pipeline()`
over the same libpq, without what makes that general (cursors, statements adapted one by one): it
takes a third of the processor time, and a run waits for five of them (docs/decisions/0024).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.abc import Buffer, Transformer
from psycopg.adapt import PyFormat
from psycopg.adapt import Transformer as Adaptation
from psycopg.errors import error_from_result
from psycopg.rows import DictRow

__all__ = ["Query", "round_trip"]


class Query(NamedTuple):
    """One statement and what its placeholders (`%s`, or `%(name)s`) stand for."""

    text: LiteralString
    values: Sequence[Any] | Mapping[str, Any] = ()


#: Statements that a connection keeps prepared; what comes beyond them is planned each time.
_PREPARED = 300
#: Seconds for the server to hear that nobody waits for its answer any more.
_FAREWELL = 1.0
#: SQLSTATE of a statement that the server does not know any more, or whose tables have changed
#: (a migration). psycopg has the server forget all after it rolls a transaction back.
_FORGOTTEN = frozenset({"26000", "0A000"})
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s|%%")


class _Statement(NamedTuple):
    """A statement that is ready to be sent."""

    text: bytes
    parameters: Sequence[Buffer | None]
    types: tuple[int, ...]
    formats: Sequence[pq.Format]


@dataclass(slots=True)
class _Session:
    """What a connection has been told before."""

    transformer: Transformer
    #: Statement and its parameters' types -> its name on the server.
    prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)


_sessions: WeakKeyDictionary[AsyncConnection[DictRow], _Session] = WeakKeyDictionary()


async def round_trip(
    connection: AsyncConnection[DictRow], queries: Sequence[Query]
) -> list[list[DictRow]]:
    """Return the rows of each statement; if one fails, none has happened and its error is raised.

    The connection is in no transaction, in autocommit mode, and nobody else's meanwhile. If the
    caller is cancelled it is closed, and whether the transaction has happened is not known.
    """
    session = _sessions.get(connection)
    if session is None:
        session = _sessions[connection] = _Session(Adaptation(connection))
    statements = [_ready(session.transformer, query) for query in queries]
    try:
        results = await _exchange(connection, session, statements)
    except psycopg.Error as error:
        if error.sqlstate not in _FORGOTTEN:
            raise
        # Nothing has happened, so it may be said again, from the beginning.
        session.prepared.clear()
        results = await _exchange(connection, session, statements)
    return [_rows(session.transformer, result) for result in results]


async def _exchange(
    connection: AsyncConnection[DictRow], session: _Session, statements: Sequence[_Statement]
) -> list[pq.abc.PGresult]:
    """Send all statements and return their results, or raise the error of the first that fails."""
    pgconn, before = connection.pgconn, len(session.prepared)
    pgconn.enter_pipeline_mode()
    try:
        is_new = [_send(pgconn, session, statement) for statement in statements]
        pgconn.pipeline_sync()
        results = await _results(pgconn)
    except BaseException:
        await _abandon(connection)
        raise
    pgconn.exit_pipeline_mode()
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            for each in list(session.prepared)[before:]:
                del session.prepared[each]
            raise error_from_result(result)
    answers = iter(results)
    return [_answer(answers, is_new=new) for new in is_new]


def _ready(transformer: Transformer, query: Query) -> _Statement:
    text, names = _numbered(query.text)
    values = query.values
    given = [values[name] for name in names] if isinstance(values, Mapping) else values
    parameters = transformer.dump_sequence(given, [PyFormat.AUTO] * len(given))
    return _Statement(text, parameters, transformer.types or (), transformer.formats or ())


@lru_cache(maxsize=1000)
def _numbered(text: str) -> tuple[bytes, tuple[str, ...]]:
    """Return a statement with $1, $2, … in place of its placeholders, and the names of these."""
    names: dict[str, int] = {}
    count = itertools.count(1)

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[1] is None:
            return f"${next(count)}"
        return f"${names.setdefault(found[1], len(names) + 1)}"

    return _PLACEHOLDER.sub(number, text).encode(), tuple(names)


def _send(pgconn: pq.abc.PGconn, session: _Session, statement: _Statement) -> bool:
    """Send a statement; return whether it had to be prepared first."""
    text, parameters, types, formats = statement
    name = session.prepared.get((text, types))
    is_new = name is None and len(session.prepared) < _PREPARED
    if is_new:
        name = session.prepared[text, types] = b"vesicle_%d" % next(session.numbers)
        pgconn.send_prepare(name, text, param_types=types)
    if name is None:
        pgconn.send_query_params(text, parameters, param_types=types, param_formats=formats)
    else:
        pgconn.send_query_prepared(name, parameters, param_formats=formats)
    return is_new


async def _results(pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Return all results up to the sync; after an error the rest say that they were left out."""
    while pgconn.flush():
        # The server may have to say something before it takes more.
        await _io(pgconn, writing=True)
        pgconn.consume_input()
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            await _io(pgconn)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # the end of one statement's results
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


async def _io(pgconn: pq.abc.PGconn, *, writing: bool = False) -> None:
    """Wait until there is something to read, or, if we are writing, until more can be sent."""
    loop = asyncio.get_running_loop()
    ready, descriptor = loop.create_future(), pgconn.socket
    loop.add_reader(descriptor, _wake, ready)
    if writing:
        loop.add_writer(descriptor, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        if writing:
            loop.remove_writer(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _answer(results: Iterator[pq.abc.PGresult], *, is_new: bool) -> pq.abc.PGresult:
    if is_new:
        next(results)  # that it is prepared
    return next(results)


def _rows(transformer: Transformer, result: pq.abc.PGresult) -> list[DictRow]:
    if result.status != pq.ExecStatus.TUPLES_OK:
        return []
    transformer.set_pgresult(result)
    names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
    return transformer.load_rows(0, result.ntuples, lambda values: dict(zip(names, values)))  # noqa: B905 - as many as there are columns, for each of many rows


async def _abandon(connection: AsyncConnection[DictRow]) -> None:
    """Close a connection whose answer nobody hears, and let the server know: it may hold locks."""
    with contextlib.suppress(Exception):
        await connection.cancel_safe(timeout=_FAREWELL)
    await connection.close()
