"""Signs what is sent, by the Standard Webhooks specification."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

__all__ = ["new_secret", "signature_headers"]

#: Bytes of a secret; the specification asks for 24 to 64.
_BYTES = 32


def new_secret() -> str:
    """Return a secret as its owner is shown it: `whsec_` and base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signature_headers(
    delivery_id: str, moment: datetime, body: str, keys: Sequence[str]
) -> dict[str, str]:
    """Return the headers of a request with this body, signed with every secret that is valid.

    `moment` is in UTC. During a rotation there are two, and a receiver may know either.
    """
    signatures = [Webhook(key).sign(delivery_id, moment, body) for key in keys]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
