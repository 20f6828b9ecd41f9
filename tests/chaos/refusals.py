"""Requests that no API should read to their end (I19), and a change without its record (I22)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from runtime.clock import monotonic
from tests.chaos.scene import ECHO
from tests.chaos.trials import Trial
from tests.chaos.verdict import Verdict

__all__ = ["refusals", "unaudited"]

#: Seconds within which something that is refused has to be refused, on a machine that is busy.
_REFUSED_WITHIN = 3.0


async def refusals(trial: Trial) -> list[Verdict]:
    """Send what no API should read to its end, beside the load."""
    wrong, slow, longest = [], [], 0.0
    for what, (content, headers, path) in _bad_requests().items():
        since = monotonic()
        key = {"Idempotency-Key": f"bad-{what}", "Content-Type": "application/json"}
        try:
            answer = await _send(trial, path, content, {**key, **headers})
            status = str(answer.status_code)
        except httpx2.TransportError as error:
            status = type(error).__name__
        seconds = monotonic() - since
        longest = max(longest, seconds)
        if not status.startswith("4"):
            wrong.append(f"{what}: {status}")
        if seconds > _REFUSED_WITHIN:
            slow.append(f"{what}: {seconds:.1f} s")
    stored = await trial.database.rows("SELECT key FROM idempotency_keys WHERE key LIKE 'bad-%%'")
    count = len(_bad_requests())
    return [
        Verdict(
            "I19",
            "bad requests not refused with 4xx",
            f"{len(wrong)} of {count}",
            "= 0",
            not wrong,
            wrong,
        ),
        Verdict(
            "I19",
            "bad requests of which something is stored",
            str(len(stored)),
            "= 0",
            not stored,
            [row["key"] for row in stored],
        ),
        Verdict(
            "I19",
            "longest refusal",
            f"{longest:.1f} s",
            f"<= {_REFUSED_WITHIN:g} s",
            not slow,
            slow,
        ),
    ]


async def _send(
    trial: Trial, path: str, content: Any, headers: Mapping[str, str]
) -> httpx2.Response:
    url = f"{trial.api}{path}"
    signed = {"Authorization": f"Bearer {trial.light.token}", **headers}
    return await trial.http.post(url, content=content, headers=signed)


async def unaudited(trial: Trial) -> list[Verdict]:
    """Change something while the audit trail alone has no room."""
    path = f"/customers/{trial.light.key}/limits/action-runs"
    body = {"window": "1h", "limit": 100_000}
    url = f"{trial.api}{path}"
    headers = {"Authorization": f"Bearer {trial.manager}"}
    async with trial.database.owner() as owner:
        await owner.execute(_NO_ROOM_TO_AUDIT)
        refused = await trial.http.put(url, json=body, headers=headers)
        made = await (
            await owner.execute(
                "SELECT count(*) AS n FROM limits"
                " JOIN tenants AS t ON t.id = limits.tenant_id WHERE t.key = 'light'"
            )
        ).fetchone()
        await owner.execute("DROP TRIGGER chaos_no_room ON audit_records")
    accepted = await trial.http.put(url, json=body, headers=headers)
    is_clean = refused.status_code == 503 and "Retry-After" in refused.headers
    kept = made["n"] if made else None
    return [
        Verdict(
            "I22",
            "a change whose audit record has no room",
            f"{refused.status_code}, {kept} made; then {accepted.status_code}",
            "503, 0 made; then 2xx",
            ok=is_clean and kept == 0 and accepted.status_code < 300,
            examples=[refused.text[:300]],
        )
    ]


_NO_ROOM_TO_AUDIT = """
CREATE FUNCTION chaos_no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER chaos_no_room BEFORE INSERT ON audit_records
    FOR EACH ROW EXECUTE FUNCTION chaos_no_room();
"""


def _bad_requests() -> dict[str, tuple[Any, Mapping[str, str], str]]:
    """Return bodies, headers and paths, each wrong in one way."""
    run = f"/actions/{ECHO.key}/run"
    large = b'{"input": "' + b"x" * 10_100_000 + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    keys = b",".join(b'"k%d":1' % number for number in range(1_000_000))
    bodies: dict[str, Any] = {
        "10 MB and more": large,
        "10 MB and more in chunks": pieces(),
        "a million keys": b'{"input": {' + keys + b"}}",
        "nesting of 100,000": b'{"input": ' + b"[" * 100_000,
        "a number of 5,000 digits": b'{"input": ' + b"9" * 5000 + b"}",
        "NaN": b'{"input": NaN}',
        "half a surrogate pair": b'{"input": "\\ud800"}',
        "bytes that are no UTF-8": b'{"input": "\xff\xfe"}',
        "two values": b"{} {}",
        "a list of a million": b'{"runs": [' + b"1," * 999_999 + b"1]}",
    }
    bad = {what: (body, {}, run) for what, body in bodies.items()}
    bad["a list of a million"] = (bodies["a list of a million"], {}, "/runs")
    bad["headers of 100 kB"] = (b"{}", {"X-Large": "x" * 100_000}, run)
    bad["an address of 60 KB"] = (b"{}", {}, "/actions/" + "k" * 60_000 + "/run")
    return bad
