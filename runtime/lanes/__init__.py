"""Fair lanes: a queue on Redis or Valkey in which no tenant waits for another's backlog.

A queue has one lane per tenant. Whoever used the least work, measured in seconds, is served next,
first among workspaces and then among one workspace's tenants. `operations` says what senders and
consumers ask of a queue, `control` what is told to all queues, `inspection` what can be looked at;
`client` asks, `scripts/*.lua` answer inside the server, each in one atomic step.
"""

from __future__ import annotations
