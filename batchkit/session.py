"""What a start of a run notes down before it sends, so that an unclean end can be reckoned with.

A feeder's chunk is noted, durably, before its first row can be sent. After a kill, rows up to the
note that have not settled are the only ones that can have been in flight, and no more of them than
there were slots.
"""

from __future__ import annotations

import msgspec

from batchkit.rows import SettledRows


class LaneNote(msgspec.Struct):
    """How far one model's rows had been handed out."""

    slots: int
    last_row: int = -1
    bound: int = 0  # PICO; the most that one attempt of the rows handed out can cost


class Session(msgspec.Struct):
    """One start of a run."""

    lanes: dict[str, LaneNote]
    is_clean: bool = False  # set at the end, when nothing is in flight


class InFlightAtKill(msgspec.Struct, frozen=True):
    """What may have been sent and was never recorded."""

    model: str
    attempts: int  # at most
    bound: int  # PICO, at most


def in_flight_at_kill(session: Session | None, settled: SettledRows) -> list[InFlightAtKill]:
    """What the last start may have had in flight when it was killed; empty if it ended well."""
    if session is None or session.is_clean:
        return []
    found: list[InFlightAtKill] = []
    for model, note in session.lanes.items():
        attempts = min(note.slots, settled.open_before(note.last_row + 1))
        if attempts:
            found.append(InFlightAtKill(model, attempts, attempts * note.bound))
    return found


encode_session = msgspec.msgpack.Encoder().encode
decode_session = msgspec.msgpack.Decoder(Session).decode
