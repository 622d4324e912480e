"""Learned limits: kept per endpoint, key, model and hour, and never in the way."""

from __future__ import annotations

from pathlib import Path

from batchkit.learned import STALE_S, Evidence, LearnedLimits, key_fingerprint, state_folder

AT_NOON = 1_795_060_800.0  # 2026-11-19 12:00 in China
HOUR = 3600.0
URL = "https://api.example.com/v4"


def test_the_next_run_starts_where_the_last_one_ended(tmp_path: Path) -> None:
    LearnedLimits(tmp_path).learn(URL, "k", "m", 37, now=AT_NOON)
    learned = LearnedLimits(tmp_path)
    assert learned.start(URL, "k", "m", now=AT_NOON + HOUR) == 37
    assert learned.start(URL, "other", "m", now=AT_NOON) is None
    assert learned.start(URL, "k", "other", now=AT_NOON) is None
    assert learned.start("http://127.0.0.1:1/v1", "k", "m", now=AT_NOON) is None


def test_the_same_hour_of_another_day_tells_more_than_the_latest(tmp_path: Path) -> None:
    learned = LearnedLimits(tmp_path)
    learned.learn(URL, "k", "m", 5, now=AT_NOON)
    learned.learn(URL, "k", "m", 80, now=AT_NOON + 6 * HOUR)
    assert learned.start(URL, "k", "m", now=AT_NOON + 24 * HOUR) == 5
    assert learned.start(URL, "k", "m", now=AT_NOON + 30 * HOUR) == 80
    assert learned.start(URL, "k", "m", now=AT_NOON + 27 * HOUR) == 80


def test_what_is_old_is_not_believed(tmp_path: Path) -> None:
    learned = LearnedLimits(tmp_path)
    learned.learn(URL, "k", "m", 5, now=AT_NOON)
    assert learned.start(URL, "k", "m", now=AT_NOON + STALE_S + 1) is None


def test_everything_can_be_forgotten(tmp_path: Path) -> None:
    learned = LearnedLimits(tmp_path)
    learned.learn(URL, "k", "m", 5, now=AT_NOON)
    learned.learn(URL, "k", "n", 6, now=AT_NOON + 1)
    assert [(one.model, one.slots, one.hour) for one in learned.all()] == [
        ("n", 6, 12),
        ("m", 5, 12),
    ]
    assert learned.forget() == 2
    assert learned.all() == []


def test_a_state_file_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "limits.db").write_bytes(b"not a database, and long enough to be one" * 99)
    learned = LearnedLimits(tmp_path)
    learned.learn(URL, "k", "m", 5, now=AT_NOON)
    assert learned.start(URL, "k", "m", now=AT_NOON) is None
    (tmp_path / "file").write_bytes(b"")
    assert LearnedLimits(tmp_path / "file" / "folder").all() == []


def test_a_key_is_known_by_a_fingerprint_that_does_not_tell_it() -> None:
    assert key_fingerprint("id.secret") == key_fingerprint("id.secret") != key_fingerprint(None)
    assert "secret" not in key_fingerprint("id.secret")
    assert len(key_fingerprint("id.secret")) == 16


def test_the_folder_is_where_xdg_says() -> None:
    assert state_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/batchkit")
    assert state_folder({}) == Path.home() / ".local/state/batchkit"


def noted(*notes: tuple[float, int, bool]) -> Evidence:
    evidence = Evidence()
    for minute, slots, is_walled in notes:
        evidence.note(slots, is_walled=is_walled, now=60 * minute)
    return evidence


def test_an_outage_at_the_end_takes_nothing_away_from_what_was_let_in() -> None:
    before = [(minute, 100, True) for minute in range(5)]
    assert noted(*before, (5.0, 1, True), (5.5, 12, True)).worth_keeping(None) == 100
    assert noted(*before, *((9.0 + m, 60, True) for m in range(2))).worth_keeping(None) == 100


def test_a_limit_that_has_shrunk_is_learned_within_minutes() -> None:
    assert noted(*((m, 100, True) for m in range(9)), *((9 + m, 50, True) for m in range(5))) \
        .worth_keeping(100) == 50  # fmt: skip


def test_a_run_that_was_held_back_by_something_else_knows_only_that_as_many_are_let_in() -> None:
    assert noted((0, 20, False)).worth_keeping(None) is None
    assert noted((0, 20, False)).worth_keeping(100) is None
    assert noted((0, 20, False)).worth_keeping(5) == 20
    assert noted((0, 20, True), (1, 30, False)).worth_keeping(100) == 30


def test_what_is_known_or_was_not_seen_is_no_news() -> None:
    assert noted((0, 20, True)).worth_keeping(20) is None
    assert noted().worth_keeping(None) is None
