"""What a person sees of a run: the words, the lines off a terminal, and streams that go away."""

from __future__ import annotations

import io

import msgspec

from batchkit.live import Live, ModelLive, Pace, seconds_left
from batchkit.progress import Progress, of_model, totals
from batchkit.tally import ModelTally, Tally

CNY = 10**12


def new_tally(**models: ModelTally) -> Tally:
    return Tally(models=dict(models))


def new_live(*models: ModelLive) -> Live:
    return Live(pid=1, updated_at=0.0, models=list(models), rows_per_s=1624.04, tokens_per_s=12345)


AIRX = ModelLive("airx", in_flight=5, limit=5, backing_off=2)


def test_totals_are_rates_money_and_failures() -> None:
    tally = new_tally(
        airx=ModelTally(ok=3, failed=1, cost=5 * CNY // 4),
        plus=ModelTally(failed=2, cost=CNY // 3, currency="USD"),
    )
    words = "1,624.0 rows/s · 12.3ktok/s · 1.25 CNY · 0.3333 USD · 3 failed"
    assert totals(tally, new_live()) == words


def test_a_models_line_tells_its_slots_and_trouble() -> None:
    assert of_model(AIRX, new_tally(airx=ModelTally(refused=7))) == (
        "airx: 5/5 in flight, 2 waiting to retry, 7 refused"
    )
    calm = ModelLive("plus", in_flight=12, limit=3000, backing_off=0)
    assert of_model(calm, new_tally()) == "plus: 12/3,000 in flight"


def test_off_a_terminal_a_line_comes_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress(100, 0, stream=stream)
    for now in range(25):
        progress.show(float(now), new_tally(airx=ModelTally(ok=now)), new_live(AIRX))
    lines = stream.getvalue().splitlines()
    assert [line.split(" · ")[0] for line in lines] == [
        "10/100 rows (10%)",
        "20/100 rows (20%)",
    ]
    assert "airx: 5/5 in flight" in lines[0]


def test_a_total_that_grows_is_told_as_one() -> None:
    stream = io.StringIO()
    progress = Progress(10, 0, stream=stream)
    growing = {"rows": 40, "all_rows": False}
    for now, live in ((0.0, {}), (10.0, growing), (20.0, {"rows": 50})):
        shown = msgspec.structs.replace(new_live(AIRX), **live)
        progress.show(now, new_tally(airx=ModelTally(ok=10)), shown)
    assert [line.split(" · ")[0] for line in stream.getvalue().splitlines()] == [
        "10/40 rows so far; the input is still being checked",
        "10/50 rows (20%)",
    ]


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    progress = Progress(100, 0, stream=stream, quiet=True)
    for now in (0.0, 100.0):
        progress.show(now, new_tally(), new_live(AIRX))
    progress.finish(new_tally())
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and may go away."""

    is_gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError
        return super().write(text)


def test_the_budget_and_a_models_pace_are_told() -> None:
    live = msgspec.structs.replace(new_live(), budget="2")
    tally = new_tally(airx=ModelTally(ok=3, cost=5 * CNY // 4))
    assert "1.25 of 2 CNY" in totals(tally, live)
    paced = msgspec.structs.replace(AIRX, rows_per_s=2.06, runs=3)
    assert of_model(paced, new_tally()) == (
        "airx: 5/5 in flight, 2.1 rows/s, 2 waiting to retry, shared with 2 other runs"
    )


def test_several_models_have_a_bar_each_and_the_time_left_is_told() -> None:
    stream = Terminal()
    progress = Progress(100, 0, stream=stream)
    models = (
        msgspec.structs.replace(AIRX, rows=40),
        ModelLive("plus", in_flight=1, limit=50, backing_off=0, rows=60),
    )
    live = msgspec.structs.replace(new_live(*models), seconds_left=3725.4)
    progress.show(0.0, new_tally(airx=ModelTally(ok=30), plus=ModelTally(ok=3)), live)
    drawn = stream.getvalue()
    assert "33/100 rows, 00:00, 1:02:05 left" in drawn
    assert " 75% |######  | airx: 5/5 in flight" in drawn
    assert "  5% |4       | plus: 1/50 in flight" in drawn


def test_what_is_left_follows_the_limit_at_once() -> None:
    tally = ModelTally(ok=90, failed=10, offered_slot_s=200.0)  # two slot-seconds a row
    assert seconds_left(1100, 50, tally) == 40.0
    assert seconds_left(1100, 25, tally) == 80.0
    assert seconds_left(100, 0, tally) == 0.0
    assert seconds_left(1100, 0, tally) is None
    assert seconds_left(1100, 50, ModelTally()) is None


def test_on_a_terminal_a_bar_and_a_line_per_model_are_drawn() -> None:
    stream = Terminal()
    progress = Progress(100, 40, stream=stream)
    progress.show(0.0, new_tally(airx=ModelTally(ok=50)), new_live(AIRX))
    progress.finish(new_tally(airx=ModelTally(ok=100)))
    drawn = stream.getvalue()
    assert "50/100 rows" in drawn
    assert "airx: 5/5 in flight, 2 waiting to retry" in drawn
    assert "100/100 rows" in drawn


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    stream = Terminal()
    progress = Progress(100, 0, stream=stream)
    progress.show(0.0, new_tally(), new_live(AIRX))
    stream.is_gone = True
    progress.show(1.0, new_tally(), new_live(AIRX))
    progress.finish(new_tally())


def test_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace(window_s=10.0)
    for now in range(21):
        tally = new_tally(m=ModelTally(ok=now * 10 if now <= 10 else 100 + (now - 10) * 2))
        rows_per_s, tokens_per_s = pace.look(float(now), tally)
    assert (rows_per_s, tokens_per_s) == (2.0, 0.0)
