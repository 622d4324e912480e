"""Whatever passes between a driver and its workers arrives as it was."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from batchkit.records import Completion, Failure, Outcome, Usage
from batchkit.verdicts import BY_CODE, CUT_OFF, TIMED_OUT
from batchkit.workers.child import read_frame
from batchkit.workers.frames import (
    Batch,
    ExchangeCall,
    Report,
    Row,
    StartCall,
    decode_batch,
    decode_call,
    decode_ended,
    decode_report,
    encode_batch,
    encode_ended,
    encode_report,
    frame_of_call,
    framed,
)

texts = st.text(max_size=50)
numbers = st.integers(1, 2**40)
counts = st.integers(0, 10**7)
usages = st.builds(Usage, counts, counts, counts)
completions = st.builds(
    Completion, st.none() | texts, st.none() | texts, usages, st.none() | texts, st.none() | texts
)
failures = st.builds(
    Failure,
    st.sampled_from([*BY_CODE.values(), CUT_OFF, TIMED_OUT]),
    texts,
    st.none() | st.integers(100, 599),
    st.none() | texts,
    st.none() | st.floats(0, 3600),
    usage=st.none() | usages,
    content=st.none() | texts,
)
calls = st.builds(StartCall, st.binary(), numbers) | st.builds(
    ExchangeCall, st.binary(), numbers, st.floats(0, 10), numbers, numbers
)


@given(st.lists(st.builds(Row, numbers, counts, st.floats(0, 1e6), st.binary())), st.lists(numbers))
def test_rows_arrive_as_they_were(rows: list[Row], drop: list[int]) -> None:
    assert decode_batch(encode_batch(Batch(rows, drop))) == Batch(rows, drop)


@given(st.lists(completions | failures, max_size=5))
def test_outcomes_arrive_as_they_were(outcomes: list[Outcome]) -> None:
    """Verdicts too: what follows from a failure is decided where its evidence was."""
    ended = [encode_ended(number, outcome) for number, outcome in enumerate(outcomes)]
    report = decode_report(encode_report(Report(1, 2, ended, 3.0, 4.0)))
    arrived = [decode_ended(one) for one in report.ended]
    assert [one.outcome for one in arrived] == outcomes
    assert [one.number for one in arrived] == list(range(len(outcomes)))
    assert msgspec.structs.astuple(report)[:2] == (1, 2)


@given(st.lists(calls, max_size=5), st.integers(1, 50), st.integers(0, 20))
def test_frames_are_told_apart_however_the_pipe_cuts_them(
    sent: list[StartCall | ExchangeCall], size: int, lost: int
) -> None:
    """What is not whole at the pipe's end is no frame."""
    stream = b"".join(map(frame_of_call, sent))
    torn = stream + framed(bytes(100))[:lost]

    async def read() -> list[StartCall | ExchangeCall]:
        reader = asyncio.StreamReader()
        for start in range(0, len(torn), size):
            reader.feed_data(torn[start : start + size])
        reader.feed_eof()
        found = []
        while (content := await read_frame(reader)) is not None:
            found.append(decode_call(content))
        return found

    assert asyncio.run(read()) == sent
