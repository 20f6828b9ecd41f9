"""Turns a document into a model, or into an error that says what is wrong where."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from runtime.errors import VesicleError

__all__ = ["parse", "problems"]

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], document: Any, error: type[VesicleError], what: str) -> Model:
    """Return the document as a model; else raise `error`, naming every faulty path.

    `what` names the document in the message, such as `action list-deals`.
    """
    try:
        return model.model_validate(document)
    except ValidationError as invalid:
        found = problems(invalid)
        first = found[0]
        raise error(
            f"{what} is not valid: {first['path']}: {first['message']}"
            + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""),
            data={"errors": found},
        ) from None


def problems(invalid: ValidationError) -> list[dict[str, str]]:
    """Return `{path, message}` for the first twenty faults; never the offending value."""
    return [
        {
            "path": "/" + "/".join(str(step) for step in fault["loc"]),
            "message": fault["msg"],
        }
        for fault in invalid.errors(include_url=False, include_input=False)[:20]
    ]
