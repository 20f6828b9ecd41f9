"""Calls the functions of a connector: what its operations and data collections are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from runtime.actions.connected import Connected
from runtime.connectors.auth import secrets_of
from runtime.connectors.collection_specs import Operation
from runtime.connectors.definition import ConnectorDefinition
from runtime.connectors.function_specs import (
    Function,
    GraphqlFunction,
    JavascriptFunction,
    MappingFunction,
    OperationFunction,
    RestFunction,
)
from runtime.connectors.graphql import refuse_graphql_errors
from runtime.connectors.messages import OutboundRequest, OutboundResponse
from runtime.connectors.paging import next_cursor, page_parts
from runtime.connectors.placeholders import fill_base
from runtime.errors import ConfigurationError, ConnectionFailedError, NotFoundError
from runtime.formulas import UNDEFINED, computed, evaluate

__all__ = [
    "AppCalls",
    "AppPage",
    "Check",
    "RunCode",
    "Send",
    "compute",
    "evaluated",
    "is_repeatable",
    "malformed",
    "operation_of",
]

#: Methods whose repetition HTTP itself declares harmless (RFC 9110, section 9.2.2).
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})
#: Most items of one page. Each becomes a record on the loop that all runs share, at 15 µs each
#: and as much again for a mapping.
_MOST_ITEMS = 10_000

#: Looks at an answer before it is used; raises what it stands for.
Check = Callable[[OutboundRequest, OutboundResponse], None]
#: Runs a connector's code on what its formulas would see; returns what the code returns.
RunCode = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Send(Protocol):
    """Sends a request over a run's connection; `parts` are those of `build_request`."""

    async def __call__(
        self, parts: Mapping[str, Any], *, check: Check | None = None
    ) -> OutboundResponse:
        """Return the answer, or raise what it stands for."""


class AppPage(NamedTuple):
    """A page of an app's list, as the app has it."""

    items: list[Any]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class AppCalls:
    """How a connector's functions reach the app in one run, over one connection."""

    connected: Connected
    send: Send
    #: None where code is not run.
    run_code: RunCode | None = None

    @property
    def definition(self) -> ConnectorDefinition:
        """Return the connector."""
        return self.connected.definition

    async def call(self, function: Function, given: Any, where: str) -> Any:
        """Return a function's output for an input. `where` is its place in the connector.

        Raises what the app's answer stands for, and ConfigurationError with `data.path` for a
        formula that cannot be computed.
        """
        seen = self._variables(given)
        match function:
            case MappingFunction():
                return await computed(lambda: evaluated(function.mapping, seen, f"{where}/mapping"))
            case OperationFunction():
                return await self._operation(function, seen, where)
            case RestFunction():
                parts = await computed(lambda: self._rest_parts(function, seen, where))
                response = await self.send(parts)
                return await computed(lambda: self._answered(function, seen, response, where))
            case GraphqlFunction():
                return await self._graphql(function, seen, where)
            case JavascriptFunction():
                if self.run_code is None:
                    raise ConfigurationError(
                        f"{where} is JavaScript, which this deployment does not run.",
                        data={"path": where},
                    )
                return await self.run_code(function.code, seen)

    async def page(self, function: Function, given: Mapping[str, Any], where: str) -> AppPage:
        """Return a page of a list; `given.cursor` says which.

        Raises what `call` and `next_cursor` raise, InputInvalidError for a cursor that is none, and
        ConnectionFailedError (`data.reason`: `malformed`, `too_large`) for what is no list.
        """
        if not isinstance(function, RestFunction):
            return _page_of(await self.call(function, given, where), where)
        pagination = function.mapping.pagination or self.definition.api_client.pagination
        seen = self._variables(given)
        asked = await computed(lambda: self._rest_parts(function, seen, where))
        parts = page_parts(pagination, given.get("cursor"), asked)
        response = await self.send(parts)
        answered = await computed(lambda: self._answered(function, seen, response, where))
        items, cursor = _page_of(answered, where)
        if cursor is None:
            cursor = next_cursor(
                self.definition,
                pagination,
                response,
                compute,
                base=self._base(),
                cursor=given.get("cursor"),
                count=len(items),
            )
        return AppPage(items, cursor)

    def _variables(self, given: Any) -> dict[str, Any]:
        connected = self.connected
        secret = secrets_of(self.definition, connected.parameters, {})
        return {
            "input": given,
            "parameters": {
                name: value
                for name, value in connected.parameters.items()
                if not (isinstance(value, str) and value in secret)
            },
            "connection": {"id": str(connected.id), "key": connected.key, "name": connected.name},
        }

    def _base(self) -> str:
        values = {**self.connected.parameters, **self.connected.credentials}
        return fill_base(self.definition.api_client.base_uri, values)

    def _rest_parts(
        self, function: RestFunction, seen: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        asked = function.mapping.request_mapping
        below = f"{where}/mapping/requestMapping"
        return {
            "path": function.mapping.path,
            "method": function.mapping.method,
            "path_parameters": evaluated(asked.path_parameters, seen, f"{below}/pathParameters"),
            "query": evaluated(asked.query, seen, f"{below}/query"),
            "headers": evaluated(asked.headers, seen, f"{below}/headers"),
            "data": evaluated(asked.data, seen, f"{below}/data"),
        }

    def _answered(
        self,
        function: RestFunction,
        seen: Mapping[str, Any],
        response: OutboundResponse,
        where: str,
    ) -> Any:
        if function.mapping.response_mapping is None:
            return response.data
        answer = {"status": response.status, "headers": dict(response.headers)}
        return evaluated(
            function.mapping.response_mapping,
            {**seen, **answer, "data": response.data},
            f"{where}/mapping/responseMapping",
        )

    async def _operation(
        self, function: OperationFunction, seen: Mapping[str, Any], where: str
    ) -> Any:
        mapping = function.mapping
        operation = operation_of(self.definition, mapping.operation_key)
        given = seen["input"]
        if mapping.input_mapping is not None:
            given = await computed(
                lambda: evaluated(mapping.input_mapping, seen, f"{where}/mapping/inputMapping")
            )
        place = f"/operations/{mapping.operation_key}/function"
        output = await self.call(operation.function, given, place)
        if mapping.output_mapping is None:
            return output
        told = {**seen, "output": output}
        return await computed(
            lambda: evaluated(mapping.output_mapping, told, f"{where}/mapping/outputMapping")
        )

    async def _graphql(self, function: GraphqlFunction, seen: Mapping[str, Any], where: str) -> Any:
        mapping = function.mapping
        variables = await computed(
            lambda: evaluated(mapping.variables, seen, f"{where}/mapping/variables")
        )
        asked: dict[str, Any] = {"query": mapping.query, "variables": variables or {}}
        if mapping.operation_name is not None:
            asked["operationName"] = mapping.operation_name
        parts = {"path": mapping.path, "method": "POST", "data": asked}
        response = await self.send(parts, check=refuse_graphql_errors)
        data = response.data["data"]
        if mapping.response_mapping is None:
            return data
        answer = {"status": response.status, "headers": dict(response.headers), "data": data}
        told = {**seen, **answer}
        return await computed(
            lambda: evaluated(mapping.response_mapping, told, f"{where}/mapping/responseMapping")
        )


def compute(formula: Any, variables: Mapping[str, Any]) -> Any:
    """Return a formula's value, None if it is undefined. Raises ConfigurationError."""
    value = evaluate(formula, variables)
    return None if value is UNDEFINED else value


def evaluated(formula: Any, variables: Mapping[str, Any], path: str) -> Any:
    """Return a formula's value as `compute` does; errors say where it stands."""
    if formula is None:
        return None
    try:
        return compute(formula, variables)
    except ConfigurationError as error:
        where = path + str(error.data.get("path") or "")
        raise ConfigurationError(
            f"{where}: {error.message}", data={**error.data, "path": where}
        ) from None


def operation_of(definition: ConnectorDefinition, key: str) -> Operation:
    """Return a connector's operation; NotFoundError names those that there are."""
    if (operation := definition.operations.get(key)) is None:
        known = ", ".join(sorted(definition.operations)[:20]) or "none"
        raise NotFoundError(
            f"The connector {definition.key!r} has no operation {key[:100]!r}; it has: {known}."
        )
    return operation


def is_repeatable(definition: ConnectorDefinition, function: Function) -> bool:
    """Return whether calling a function twice does no more than calling it once."""
    match function:
        case MappingFunction():
            return True
        case OperationFunction():
            operation = operation_of(definition, function.mapping.operation_key)
            if operation.is_read_only is not None:
                return operation.is_read_only
            return is_repeatable(definition, operation.function)
        case RestFunction():
            return function.mapping.method in _IDEMPOTENT
        case GraphqlFunction():
            return not function.mapping.is_mutation
        case _:
            return False


def _page_of(output: Any, where: str) -> AppPage:
    cursor = None
    if isinstance(output, Mapping):
        cursor = output.get("cursor")
        output = output.get("records")
    if not isinstance(output, list):
        raise malformed(f"{where} found no list of records in the outside app's answer.")
    if len(output) > _MOST_ITEMS:
        raise ConnectionFailedError(
            f"The outside app answered with {len(output):,} records at once; at most"
            f" {_MOST_ITEMS:,} are taken. Ask it for fewer by the list's size.",
            data={"reason": "too_large", "records": len(output)},
        )
    if cursor is None or cursor == "":
        return AppPage(output, None)
    if isinstance(cursor, bool) or not isinstance(cursor, str | int):
        raise malformed(f"{where} found a cursor that is no text.")
    return AppPage(output, str(cursor))


def malformed(message: str) -> ConnectionFailedError:
    """Return the error for an answer that is not what the connector says it is."""
    return ConnectionFailedError(message, data={"reason": "malformed"})
