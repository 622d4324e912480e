"""The limit on open files, which bounds the sockets: one for each request in flight."""

from __future__ import annotations

import resource

RESERVED = 256  # for the input, the journal, the parts, and sockets that are about to close


def raise_descriptor_limit(slots: int) -> int:
    """Raise the soft limit as far as `slots` sockets need and the system allows.

    Returns how many sockets fit now: `slots`, or fewer.
    """
    needed = slots + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return slots
    wanted = needed if _is_enough(hard, needed) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # some systems allow less than they say
        wanted = soft
    return max(1, min(slots, wanted - RESERVED))


def _is_enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
