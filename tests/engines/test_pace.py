"""How fast a server is asked, on a clock that only the tests move."""

from typing import Any

import pytest

from distill.engines.pace import GAIN, START, Bucket, Pace, Try
from distill.errors import EngineError
from distill.teacher_sections import EndpointTeacher


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Played:
    """A pace with its clock, and what it said."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.said = Clock(), list[str]()
        settings = {"concurrency": 256} | settings
        section = EndpointTeacher(kind="endpoint", model="m", base_url="http://x/v1", **settings)
        self.pace = Pace(section, self.said.append, clock=self.clock)
        self.number = 0

    def one(self, trouble: str = "", after_s: float = 1.0, tokens: int = 100, asked_s: float | None = None) -> None:
        """A try that starts now and ends after a while."""
        self.number += 1
        started = self.pace.started(1000)
        self.clock.now += after_s
        self.end(started, trouble, tokens, asked_s)

    def end(self, made: Try, trouble: str = "", tokens: int = 100, asked_s: float | None = None) -> None:
        if trouble:
            self.pace.failed(made, f"p{self.number}", trouble, asked_s)
        else:
            self.pace.succeeded(made, tokens)
        self.pace.left()

    def round(self, trouble: str = "", after_s: float = 1.0) -> int:
        """As many tries together as there is room for; gives how many."""
        started = []
        while not self.pace.wait_s():
            started.append(self.pace.started(1000))
        self.clock.now += after_s
        for at in started:
            self.number += 1
            self.end(at, trouble)
        return len(started)


def test_the_level_rises_fast_to_the_bound_and_never_above() -> None:
    played = Played(concurrency=1000)
    rounds = [played.round() for _ in range(5)]
    assert rounds == [START, START * (1 + GAIN), 1000, 1000, 1000]
    assert Played(concurrency=4).round() == 4


def test_overload_halves_the_level_once_for_all_that_were_on_the_wire() -> None:
    played = Played()
    played.round()
    assert played.round() == 256
    started = [played.pace.started(1000) for _ in range(256)]
    played.clock.now += 1
    for at, began in enumerate(started):
        played.number += 1
        played.end(began, "HTTP429" if at % 3 == 0 else "")
    assert 128 <= played.pace.room <= 130, "those that were on the wire together are one overload"
    assert played.said == ["HTTP429: going on with 128 at once instead of 256"]
    before = played.pace.room
    assert played.round() == before and played.pace.room == before + 1, "after an overload, one more with every round"


@pytest.mark.parametrize("trouble", ["HTTP503", "HTTP529"])
def test_other_overloads_halve_too_and_the_level_never_ends(trouble: str) -> None:
    played = Played(concurrency=8)
    for _ in range(3):
        played.one(trouble)
        played.clock.now += 100  # the window is over: no outage
    assert played.pace.room == 1
    played.one(trouble)
    assert played.pace.room == 1 and not played.pace.wait_s()


def test_other_troubles_leave_the_level() -> None:
    played = Played()
    played.one("Timeout")
    assert played.pace.room == START and not played.said


def test_retry_after_holds_everyone_and_long_waits_are_said() -> None:
    played = Played()
    played.one("HTTP429", asked_s=3.0)
    assert played.pace.wait_s() == pytest.approx(3.0)
    played.clock.now += 3.1
    played.one("HTTP429", asked_s=120.0)
    assert played.pace.wait_s() == pytest.approx(120.0) and "the server asks to wait 120 s" in played.said
    played.clock.now += 121
    assert not played.pace.wait_s()


@pytest.mark.parametrize("per_minute", [7.0, 60.0, 1200.0])
def test_requests_per_minute_hold_in_every_minute(per_minute: float) -> None:
    played, starts = Played(requests_per_minute=per_minute), []
    while played.clock.now < 1000 + 600:
        if played.pace.wait_s():
            played.clock.now += 0.05
            continue
        starts.append(played.clock.now)
        played.one(after_s=0.0)
    burst = max(1.0, per_minute / 60)
    for at, first in enumerate(starts):
        inside = sum(1 for start in starts[at : at + int(2 * per_minute) + 2] if start < first + 60)
        assert inside <= per_minute + burst + 1
    assert len(starts) >= 0.9 * per_minute * 10


def test_tokens_per_minute_hold_on_the_whole_though_they_are_known_only_afterwards() -> None:
    played, spent = Played(tokens_per_minute=6000), 0
    while played.clock.now < 1000 + 3600:
        if played.pace.wait_s():
            played.clock.now += 0.1
            continue
        played.one(after_s=0.0, tokens=250)
        spent += 250
    assert 0.9 * 6000 * 60 <= spent <= 6000 * 60 + 1000


def test_what_was_set_aside_comes_back_when_a_try_fails_or_needed_less() -> None:
    played = Played(tokens_per_minute=6000)
    first = [played.pace.started(1000) for _ in range(3)]
    played.end(first[0], "Timeout")
    played.end(first[1], tokens=100)
    played.end(first[2], tokens=100)
    assert played.pace.wait_s() == pytest.approx(2.0), "200 tokens at 100 a second"


def test_a_bucket_saves_up_a_second_at_most() -> None:
    bucket = Bucket(600, 0.0)
    assert bucket.wait_s(1000.0) == 0.0
    bucket.take(30)
    assert bucket.wait_s(1000.0) == pytest.approx(2.0)


def out(**settings: Any) -> Played:
    """A pace whose server has just begun to fail."""
    played = Played(**settings)
    played.round()
    played.round("Disconnected")
    assert played.pace.outage
    return played


def test_an_outage_pauses_says_so_probes_and_ends() -> None:
    played = out()
    assert "most requests of the last minute failed (Disconnected): pausing for 5 s" in played.said
    for pause in (5, 10, 20, 40, 60, 60):
        assert played.pace.wait_s() == pytest.approx(pause)
        played.clock.now += pause
        assert played.round("NoServer") == 1, "one request at a time"
    assert "the server still fails (NoServer): the next try is in 10 s" in played.said
    played.clock.now += 60
    assert played.round() == 1 and not played.pace.outage
    assert played.said[-1].startswith("the server answers again: going on with")
    assert played.round() > START


def test_an_answer_from_before_the_outage_does_not_end_it() -> None:
    played = Played(concurrency=64)
    late = played.pace.started(1000)
    for _ in range(12):
        played.one("Timeout", after_s=0.1)
    assert played.pace.outage
    played.end(late)
    assert played.pace.outage


def test_a_server_that_stays_away_ends_the_run() -> None:
    played = out(max_outage_s=100)
    with pytest.raises(EngineError, match=r"has failed for \d+ s, which is more than max_outage_s: 100 \(NoServer\)"):
        for _ in range(20):
            played.clock.now += played.pace.wait_s()
            played.one("NoServer", after_s=0.0)


def test_few_tries_one_poison_request_or_a_minority_are_no_outage() -> None:
    few = Played()
    for _ in range(9):
        few.one("HTTP500", after_s=0.1)
    poison = Played()
    for _ in range(40):
        poison.end(poison.pace.started(1000), "HTTP500")
    minority = Played()
    for at in range(200):
        minority.one("HTTP500" if at % 5 in (0, 2) else "", after_s=0.1)
    old = Played()
    for _ in range(9):
        old.one("HTTP500", after_s=0.1)
    old.clock.now += 61
    for _ in range(5):
        old.one("HTTP500", after_s=0.1)
    assert not any(played.pace.outage for played in (few, poison, minority, old))


def test_a_busy_minute_does_not_hide_that_the_server_is_gone() -> None:
    played = Played(concurrency=32)
    for _ in range(1000):
        played.one(after_s=0.01)
    for _ in range(33):
        played.one("Disconnected", after_s=0.01)
    assert played.pace.outage


def test_a_closed_pace_lets_nothing_start() -> None:
    played = Played()
    played.pace.closed = True
    assert played.pace.wait_s() > 1000
