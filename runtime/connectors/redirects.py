"""What the next request is when an outside app answers that it is elsewhere (RFC 9110 §15.4)."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote, unquote_plus, urljoin

from runtime.connectors.location import Location, parse_location
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.redaction import holds_secret
from runtime.connectors.wire import Reply
from runtime.errors import EgressDeniedError

__all__ = ["MAX_REDIRECTS", "redirected"]

MAX_REDIRECTS = 5

_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_URL_CHARACTERS = "/?#:@!$&'()*+,;=-._~%[]"
#: All that goes along to another origin. Any other header may be a credential, whatever its name.
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


def redirected(request: OutboundRequest, at: Location, reply: Reply) -> OutboundRequest | None:
    """Return the request that the reply of `at` asks for; None if the reply is the answer.

    Another origin gets no credentials. Raises EgressDeniedError for a way from https to http.
    """
    pointer = reply.headers.get("location")
    if reply.status not in _FOLLOWED or not pointer:
        return None
    # Headers are read as latin-1; servers write UTF-8 or whatever they like.
    url = urljoin(at.url, quote(pointer.encode("latin-1"), safe=_URL_CHARACTERS))
    there = parse_location(url)
    if at.scheme == "https" and there.scheme != "https":
        raise EgressDeniedError("The outside app redirects from https to http.")
    onward = replace(_with_method(request, reply.status), url=there.url, query=None)
    return onward if there.origin == at.origin else _without_credentials(onward, there)


def _with_method(request: OutboundRequest, status: int) -> OutboundRequest:
    """Return the request with the method that the status asks for; GET carries no body along."""
    if request.method == "HEAD" or status in _SAME_METHOD:
        return request
    if request.method != "POST" and status != HTTPStatus.SEE_OTHER:
        return request
    headers = {
        name: value
        for name, value in request.headers.items()
        if not name.lower().startswith("content-")
    }
    return replace(request, method="GET", body=None, headers=headers)


def _without_credentials(request: OutboundRequest, there: Location) -> OutboundRequest:
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() in _HARMLESS_HEADERS and not holds_secret(value, request.secrets)
    }
    path, mark, query = there.target.partition("?")
    kept = [
        pair
        for pair in query.split("&")
        if not holds_secret(unquote_plus(pair.partition("=")[2]), request.secrets)
    ]
    target = path + mark + "&".join(kept) if mark else path
    return replace(request, headers=headers, url=replace(there, target=target).url)
