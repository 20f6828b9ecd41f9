"""Keeps Python's garbage collector away from what stays, and from what goes by itself.

Nearly everything that a run leaves goes by its reference count. With CPython's defaults the
collector looked for cycles all the same after each 700 objects, that is for each second run, and
every now and then at all 200,000 objects of the imported libraries: together a quarter of a
worker's processor time, and pauses of 50 ms and more in its event loop.
"""

from __future__ import annotations

import gc

__all__ = ["settle"]

#: New objects after which the youngest are looked at, and how many such looks make an older
#: generation due. A thousand runs in flight are some 60,000 objects.
_THRESHOLDS = (20_000, 20, 20)


def settle() -> None:
    """Leave out of sight what a process has made up to now; called once, when it is ready."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
