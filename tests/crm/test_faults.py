"""Each fault misbehaves in the one way that it promises."""

from __future__ import annotations

import json
import time

import httpx2
import pytest


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("code", [200, 204, 304, 400, 418, 500, 503])
def test_status_answers_as_asked(nobody, method, code):
    """The status is the one in the path."""
    assert nobody.request(method, f"/faults/status/{code}").status_code == code


@pytest.mark.parametrize(
    "path",
    [
        "status/99",
        "status/abc",
        "slow?seconds=-1",
        "slow?seconds=nan",
        "big?bytes=x",
        "redirect",
        "rate-limit?retry_after=%0d%0aX-Evil:1",
    ],
)
def test_a_wrong_parameter_is_refused(nobody, path):
    """A fault that cannot be played says so with 422."""
    answer = nobody.get(f"/faults/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "validation_failed")


def test_slow_takes_its_time(nobody):
    """The answer comes after the seconds that were asked for."""
    began = time.monotonic()
    assert nobody.get("/faults/slow?seconds=0.3").json() == {"seconds": 0.3}
    assert 0.3 <= time.monotonic() - began < 5


def test_hang_never_answers(nobody):
    """The caller's own time limit is what ends it; other callers are served meanwhile."""
    with pytest.raises(httpx2.ReadTimeout):
        nobody.get("/faults/hang", timeout=0.5)
    hits = nobody.get("/_admin/ledger").json()["hits"]
    assert [(hit["path"], hit["status"]) for hit in hits] == [("/faults/hang", None)]


def test_drip_sends_a_byte_a_second(nobody):
    """Bytes arrive one by one, about a second apart."""
    arrived = []
    with nobody.stream("GET", "/faults/drip?bytes=3") as answer:
        for chunk in answer.iter_raw():
            assert len(chunk) == 1
            arrived.append(time.monotonic())
    assert len(arrived) == 3
    assert 1.5 <= arrived[2] - arrived[0] < 10


def test_html_is_a_page(nobody):
    """A 200 that is no JSON."""
    answer = nobody.get("/faults/html")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000])
def test_big_sends_that_many_bytes(nobody, size):
    """The body has exactly the size asked for, is JSON, and is not announced."""
    answer = nobody.get("/faults/big", params={"bytes": size})
    assert len(answer.content) == size
    assert "Content-Length" not in answer.headers
    assert size == 0 or answer.json() == 0


def test_big_is_a_hundred_megabytes_by_default(nobody):
    """Without a size the body has 100 MB."""
    with nobody.stream("GET", "/faults/big") as answer:
        assert sum(map(len, answer.iter_raw())) == 100_000_000


def test_gzip_bomb_unpacks_to_a_thousandfold(nobody):
    """What travels is small, what it becomes is huge."""
    with nobody.stream("GET", "/faults/gzip-bomb?bytes=50000000") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert sum(map(len, answer.iter_bytes())) == 50_000_000
        assert answer.num_bytes_downloaded < 100_000


def test_redirect_points_where_it_was_told(nobody):
    """The Location is the URL given, another host's included."""
    target = "http://10.0.0.1:81/x?y=1"
    answer = nobody.get("/faults/redirect", params={"to": target})
    assert (answer.status_code, answer.headers["Location"]) == (302, target)


def test_redirect_loop_has_no_end(nobody):
    """A caller that follows gives up."""
    with pytest.raises(httpx2.TooManyRedirects):
        nobody.get("/faults/redirect-loop", follow_redirects=True)


def test_broken_json_claims_to_be_json(nobody):
    """The content type says JSON, the body is cut off."""
    answer = nobody.get("/faults/broken-json")
    assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("value", ["7", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_rate_limit_says_when_to_retry(nobody, value):
    """The 429 carries the Retry-After that was asked for, sensible or not."""
    answer = nobody.get("/faults/rate-limit", params={"retry_after": value})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, value)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset_drops_the_connection(nobody, method):
    """The connection is reset without an answer, and the next request works."""
    with pytest.raises(httpx2.ReadError, match="reset"):
        nobody.request(method, "/faults/reset")
    assert nobody.get("/faults/html").status_code == 200


def test_echo_tells_what_arrived(nobody):
    """Method, headers, query and body come back as they were seen."""
    seen = nobody.put(
        "/faults/echo",
        params=[("a", "1"), ("a", "2"), ("b", "x y")],
        headers=[("X-One", "1"), ("X-Two", "a"), ("X-Two", "b")],
        content='{"grüße": 1}',
    ).json()
    assert (seen["method"], seen["path"]) == ("PUT", "/faults/echo")
    assert (seen["headers"]["x-one"], seen["headers"]["x-two"]) == ("1", "a, b")
    assert seen["query"] == {"a": "2", "b": "x y"}
    assert seen["queryString"] in ("a=1&a=2&b=x+y", "a=1&a=2&b=x%20y")
    assert seen["body"] == '{"grüße": 1}'
