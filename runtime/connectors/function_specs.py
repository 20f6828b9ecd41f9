"""The functions of a connector: data that says how to do one thing with the app.

Formulas see `input`, and those of an answer also `status`, `headers` and `data`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.connectors.pagination import Pagination
from runtime.connectors.spec import Formula, Key, RelativePath, Spec, TemplatePath

__all__ = [
    "Function",
    "GraphqlFunction",
    "JavascriptFunction",
    "MappingFunction",
    "OperationFunction",
    "RestFunction",
]

#: Characters of code or of a GraphQL query.
_LONGEST_CODE = 200_000


class MappingFunction(Spec):
    """Computes its output and calls nobody."""

    type: Literal["mapping"]
    mapping: Formula = None


class OperationMapping(Spec):
    """Another operation of the same connector, and how to talk to it."""

    operation_key: Key
    #: What the operation is given; by default what this function was given.
    input_mapping: Formula = None
    #: A formula over `input` and `output`; by default the operation's output.
    output_mapping: Formula = None


class OperationFunction(Spec):
    """Does what another operation does."""

    type: Literal["operation-mapping"]
    mapping: OperationMapping


class RequestMapping(Spec):
    """What goes into a request, each a formula over `input`."""

    path_parameters: Formula = None
    query: Formula = None
    headers: Formula = None
    data: Formula = None


class RestMapping(Spec):
    """One request and what its answer means."""

    path: TemplatePath
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    request_mapping: RequestMapping = RequestMapping()
    #: By default the answer's data.
    response_mapping: Formula = None
    #: How a list goes on, where it is not as the connector's API client says.
    pagination: Pagination | None = None


class RestFunction(Spec):
    """Sends one request."""

    type: Literal["rest-api-mapping"]
    mapping: RestMapping


class GraphqlMapping(Spec):
    """One GraphQL query and what its answer means; `data` is the `data` of the answer."""

    path: RelativePath = "/graphql"
    #: Text, never a formula: what varies goes into variables, which nobody can break out of.
    query: str = Field(min_length=1, max_length=_LONGEST_CODE)
    operation_name: str | None = Field(default=None, max_length=200)
    variables: Formula = None
    response_mapping: Formula = None

    @property
    def is_mutation(self) -> bool:
        """Return whether it may change something; subscriptions are none of ours."""
        return "mutation" in self.query


class GraphqlFunction(Spec):
    """Sends one GraphQL query."""

    type: Literal["graphql-api-mapping"]
    mapping: GraphqlMapping


class JavascriptFunction(Spec):
    """Runs code in the sandbox."""

    type: Literal["javascript"]
    code: str = Field(min_length=1, max_length=_LONGEST_CODE)


Function = Annotated[
    MappingFunction | OperationFunction | RestFunction | GraphqlFunction | JavascriptFunction,
    Field(discriminator="type"),
]
