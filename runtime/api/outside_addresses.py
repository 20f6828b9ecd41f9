"""Addresses that callers give for Vesicle to call: refused at once where no call may go."""

from __future__ import annotations

from runtime.connectors.egress import EgressPolicy
from runtime.connectors.location import parse_location
from runtime.errors import BadRequestError, EgressDeniedError
from runtime.settings import Settings

__all__ = ["check_address"]


def check_address(settings: Settings, uri: str | None, path: str, what: str) -> None:
    """Raise BadRequestError, naming the path, for an address that the URL alone shows to be bad."""
    if uri is None:
        return
    try:
        EgressPolicy(settings.egress_allow, http=settings.egress_http).check(parse_location(uri))
    except EgressDeniedError as error:
        raise BadRequestError(
            f"{what} is not valid: {path}: {error.message}",
            data={"errors": [{"path": path, "message": error.message}]},
        ) from None
