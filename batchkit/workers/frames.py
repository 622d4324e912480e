"""What passes between a driver and its workers, as bytes: rows out, outcomes in. Pure.

* A batch and a report are msgpack arrays; what ended is encoded once, by the worker, as it ends.
* On a pipe every frame has its length before it: 4 bytes, big endian.
* No frame holds a key: a configuration names the environment variables that do.
"""

from __future__ import annotations

import msgspec

from batchkit.providers.codec import Dialect
from batchkit.records import Completion, Failure, Outcome
from batchkit.spec import TransportName

LENGTH_BYTES = 4


class Address(msgspec.Struct, frozen=True, array_like=True):
    """One endpoint that a worker sends to."""

    url: str
    dialect: Dialect
    key_env: str | None  # the variable in the worker's environment that holds the key


class WorkerConfig(msgspec.Struct, frozen=True, array_like=True):
    """What a worker needs to know before its first row."""

    addresses: list[Address]
    trust_env: bool  # go through the proxy that the environment names
    transport: TransportName = TransportName.AIOHTTP
    look_s: float = 0.5  # how often each side looks whether it has been called


class Row(msgspec.Struct, gc=False, array_like=True):
    """One attempt to be made."""

    number: int  # rises from row to row of a worker
    address: int  # index into the configuration's
    timeout_s: float
    body: bytes


class Batch(msgspec.Struct, gc=False, array_like=True):
    """What a driver hands to a worker at once."""

    rows: list[Row]
    drop: list[int]  # numbers of rows to break off


class Ended(msgspec.Struct, gc=False, array_like=True):
    """How one row ended."""

    number: int
    completion: Completion | None
    failure: Failure | None

    @property
    def outcome(self) -> Outcome:
        outcome = self.completion if self.failure is None else self.failure
        assert outcome is not None
        return outcome


class Report(msgspec.Struct, gc=False, array_like=True):
    """What a worker has to say."""

    epoch: int  # as given at its start
    first: int  # ended rows are counted from 1: which the first one here is
    ended: list[msgspec.Raw]
    cpu_s: float  # of its process, since that began
    lag_s: float  # by how much its event loop came late at most, since the last report


class StartCall(msgspec.Struct, array_like=True, tag=0):
    """`Worker.start`, on a pipe."""

    config: bytes
    epoch: int


class ExchangeCall(msgspec.Struct, array_like=True, tag=1):
    """`Worker.exchange`, on a pipe."""

    rows: bytes
    ack: int
    wait: float
    min_rows: int
    max_rows: int


_encoder = msgspec.msgpack.Encoder()
encode_config = _encoder.encode
decode_config = msgspec.msgpack.Decoder(WorkerConfig).decode
encode_batch = _encoder.encode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
encode_report = _encoder.encode
decode_report = msgspec.msgpack.Decoder(Report).decode
decode_ended = msgspec.msgpack.Decoder(Ended).decode
decode_call = msgspec.msgpack.Decoder(StartCall | ExchangeCall).decode


def encode_ended(number: int, outcome: Outcome) -> msgspec.Raw:
    """A row's end, ready for any report."""
    if isinstance(outcome, Completion):
        return msgspec.Raw(_encoder.encode(Ended(number, outcome, None)))
    return msgspec.Raw(_encoder.encode(Ended(number, None, outcome)))


def frame_of_call(call: StartCall | ExchangeCall) -> bytes:
    """A call as it goes through a pipe."""
    return framed(_encoder.encode(call))


def framed(content: bytes) -> bytes:
    """`content` with its length before it."""
    return len(content).to_bytes(LENGTH_BYTES, "big") + content
