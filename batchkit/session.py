"""What a start of a run notes down before it sends, so that an unclean end can be reckoned with.

A feeder's batch is noted, durably, before its first row can be sent. After a kill, rows up to the
note that have not settled are the only ones that can have been in flight, or answered and not yet
durable; and no more of them than there were slots and room for what is not durable.
"""

from __future__ import annotations

import msgspec

from batchkit.rows import SettledRows


class LaneNote(msgspec.Struct):
    """How far one lane's rows had been handed out."""

    model: str
    slots: int
    currency: str = "CNY"
    at_once: int = 1  # attempts of one row that can be in flight at the same time
    last_row: int = -1
    bound: int = 0  # PICO; the most that one attempt of the rows handed out can cost
    requests: int = 1  # the most that one of these rows is


class Session(msgspec.Struct):
    """One start of a run; its lanes by their names."""

    lanes: dict[str, LaneNote]
    backlog: int = 0  # records that may not be durable yet while others are in flight
    is_clean: bool = False  # set at the end, when nothing is in flight


class InFlightAtKill(msgspec.Struct, frozen=True):
    """What may have been sent and was never recorded."""

    model: str
    currency: str
    attempts: int  # at most
    bound: int  # PICO, at most


def in_flight_at_kill(session: Session | None, settled: SettledRows) -> list[InFlightAtKill]:
    """What the last start may have had in flight when it was killed; empty if it ended well."""
    if session is None or session.is_clean:
        return []
    found: list[InFlightAtKill] = []
    for note in session.lanes.values():
        most = note.slots + session.backlog
        open_rows = settled.open_before(note.last_row + 1)
        attempts = min(most, note.at_once * note.requests * open_rows)
        if attempts:
            bound = attempts * note.bound
            found.append(InFlightAtKill(note.model, note.currency, attempts, bound))
    return found


encode_session = msgspec.msgpack.Encoder().encode
decode_session = msgspec.msgpack.Decoder(Session).decode
