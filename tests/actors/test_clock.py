import pytest

from actors import callbook, clock
from actors.callbook import CallBook
from actors.clock import BusyClock


class Time:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch) -> Time:
    fake = Time()
    monkeypatch.setattr(clock, "time", fake)
    monkeypatch.setattr(callbook, "time", fake)
    return fake


def test_overlaps_of_one_phase_count_once(time):
    busy = BusyClock()
    with busy.busy("generate"):
        time.now += 2
        with busy.busy("generate"):
            time.now += 3
        time.now += 1
    time.now += 10
    with busy.busy("generate"):
        time.now += 4
    assert busy.take() == {"generate": 10.0}


def test_phases_overlap_each_other(time):
    busy = BusyClock()
    with busy.busy("generate"):
        time.now += 2
        with busy.busy("train"):
            time.now += 3
    assert busy.take() == {"train": 3.0, "generate": 5.0}


def test_what_is_under_way_is_split_where_it_is_taken(time):
    busy = BusyClock()
    with busy.busy("generate"):
        time.now += 2
        assert busy.take() == {"generate": 2.0}
        time.now += 5
    assert busy.take() == {"generate": 5.0}
    assert busy.take() == {}


def test_a_failing_block_is_counted_and_ended(time):
    busy = BusyClock()

    def failing() -> None:
        with busy.busy("train"):
            time.now += 2
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        failing()
    time.now += 5
    assert busy.take() == {"train": 2.0}


def test_the_oldest_open_call_is_named_once_it_is_old_enough(time):
    book = CallBook()
    with book.entry("engine-0", "generate", "request 3.0"):
        time.now += 5
        with book.entry("engine-1", "pause", "weight version 2"):
            time.now += 5
            assert book.oldest(longer_than_s=10.5) is None
            oldest = book.oldest(longer_than_s=10)
            assert oldest is not None
            assert (oldest.actor, oldest.method, oldest.what) == ("engine-0", "generate", "request 3.0")
    assert book.oldest(longer_than_s=0) is None


def test_an_answered_call_leaves_the_book_also_when_it_failed(time):
    book = CallBook()
    with book.entry("engine-1", "score", ""):
        with pytest.raises(ValueError, match="broken"), book.entry("engine-0", "generate", ""):
            raise ValueError("broken")
        time.now += 1
        oldest = book.oldest(longer_than_s=1)
        assert oldest is not None
        assert oldest.actor == "engine-1"
