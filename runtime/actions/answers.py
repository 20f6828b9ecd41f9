"""Tells an answer that an action can use from one that only looks like it."""

from __future__ import annotations

import re
from http import HTTPStatus

from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.redaction import scrub
from runtime.errors import ConnectionFailedError

__all__ = ["refuse_page", "refuse_unreadable"]

#: Characters of an answer that an error shows.
_SHOWN = 500
_JSON = re.compile(r"(?:application|text)/(?:[^;\s]*\+)?json\b", re.IGNORECASE)
_PAGE = re.compile(r"text/html\b|application/xhtml\+xml\b", re.IGNORECASE)


def refuse_unreadable(request: OutboundRequest, response: OutboundResponse) -> None:
    """Raise ConnectionFailedError (`data.reason`: `broken_json`) for JSON that is none."""
    if not (_is_success(response) and _JSON.match(_type_of(response))):
        return
    # What is no JSON comes as its text. So does a JSON string, but that had two quotes more.
    text = response.data
    if isinstance(text, str) and len(text.encode(errors="replace")) + 2 > response.size:
        raise _refusal(
            "broken_json",
            "The outside app's answer is not the JSON that it says it is.",
            request,
            response,
        )


def refuse_page(request: OutboundRequest, response: OutboundResponse) -> None:
    """Raise ConnectionFailedError (`data.reason`: `html`) for a page where an API was asked.

    That is how maintenance, a login or a captive portal answers, with status 200. A request that
    asks for HTML by its Accept header gets it.
    """
    asked_for = "html" in (request.header("accept") or "").lower()
    if _is_success(response) and _PAGE.match(_type_of(response)) and not asked_for:
        raise _refusal(
            "html",
            "The outside app answered with an HTML page instead of data.",
            request,
            response,
        )


def _is_success(response: OutboundResponse) -> bool:
    return HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES


def _type_of(response: OutboundResponse) -> str:
    return response.headers.get("content-type", "")


def _refusal(
    reason: str, message: str, request: OutboundRequest, response: OutboundResponse
) -> ConnectionFailedError:
    # Cut twice: a secret that the first cut leaves in half is gone with the second.
    shown = scrub(str(response.data)[: 20 * _SHOWN], request.secrets)[:_SHOWN]
    return ConnectionFailedError(
        message,
        data={
            "reason": reason,
            "request": brief(request),
            "response": {"status": response.status, "data": shown},
        },
    )
