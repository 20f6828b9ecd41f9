"""JSONata in a child: expressions of tenants, each over variables that come as JSON.

JSONata has regular expressions that can take for ever and functions that can fill any memory, so it
is shut in like code is; here it only has to say what goes wrong in the ordinary way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from jsonata import Jsonata, Utils

__all__ = ["answers"]

#: Calls inside calls; beyond, Python's own limit would end them.
_DEPTH = 200


def answers(payload: str, output: int) -> bytes:
    """Return the results of a batch as JSON: `{value}`, `{}` for undefined, or `{error}` of each.

    `payload` is `{seconds, frames: {id: {own, outer?}}, asked: [[expression, id]]}`; in a frame,
    `parent` is what is around it. `output` limits the bytes of all results.
    """
    batch = json.loads(payload)
    deadline = time.monotonic() + batch["seconds"]
    seen: dict[str, dict[str, Any]] = {}
    results: list[str] = []
    size = 0
    for expression, frame in batch["asked"]:
        left = deadline - time.monotonic()
        result = _result(expression, _variables(batch["frames"], frame, seen), left)
        size += len(result)
        if size > output:
            result = json.dumps({"error": f"the results have more than {output:,} characters"})
            size = 0
        results.append(result)
    return f"[{','.join(results)}]".encode("ascii")


def _variables(
    frames: Mapping[str, Any], name: str, seen: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return what an expression sees; what is around many items is put together once."""
    chain = []
    at: str | None = name
    while at is not None and at not in seen:
        chain.append(at)
        at = frames[at].get("outer")
    for each in reversed(chain):
        frame = frames[each]
        outer = frame.get("outer")
        seen[each] = frame["own"] if outer is None else {**frame["own"], "parent": seen[outer]}
    return seen[name]


def _result(expression: str, variables: dict[str, Any], seconds: float) -> str:
    if seconds <= 0:
        return json.dumps({"error": "there was no time left for it"})
    try:
        prepared = Jsonata(expression, timeout=int(seconds * 1000) + 1, stack=_DEPTH)
        prepared.set_output_convert_nulls(False)
        value = prepared.evaluate(variables)
        if value is None:
            return "{}"
        text = json.dumps({"value": Utils.convert_nulls(value)}, allow_nan=False, default=_no_json)
    except MemoryError:
        return json.dumps({"error": "it needs too much memory"})
    except RecursionError:
        return json.dumps({"error": "it nests too deep"})
    except Exception as error:  # noqa: BLE001 - the library meets hostile expressions with errors of all kinds
        return json.dumps({"error": str(error)[:1000] or type(error).__name__})
    return text


def _no_json(value: object) -> Any:
    raise TypeError(f"it gives a {type(value).__name__}, which is no JSON")
