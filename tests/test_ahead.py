"""An iterable worked off in a thread: the same items and errors, and nothing left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from mien.ahead import ahead


class Source:
    """Numbers, with a note of which thread gave them, how many it gave, and which thread ended it."""

    def __init__(self, count: int, *, failing: Exception | None = None, failing_end: Exception | None = None) -> None:
        self.count, self.failing, self.failing_end = count, failing, failing_end
        self.given = 0
        self.threads: set[int] = set()
        self.ended_in: int | None = None

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.threads.add(threading.get_ident())
                self.given += 1
                yield number
            if self.failing is not None:
                raise self.failing
        finally:
            self.ended_in = threading.get_ident()
            if self.failing_end is not None:
                raise self.failing_end


def test_items_come_in_order_from_another_thread() -> None:
    source = Source(50)
    assert list(ahead(source, depth=3)) == list(range(50))
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_an_iterable_of_nothing_gives_nothing() -> None:
    assert list(ahead([], depth=1)) == []


def test_an_exception_comes_after_the_items_before_it() -> None:
    read = ahead(Source(3, failing=OSError("broken")), depth=8)
    assert [next(read) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="broken"):
        next(read)


def test_no_more_than_depth_wait() -> None:
    source = Source(50)
    read = ahead(source, depth=3)
    assert next(read) == 0
    time.sleep(0.15)
    assert source.given <= 1 + 3 + 1  # taken, waiting, and one that has no place yet
    read.close()


def test_closed_early_the_thread_ends_and_ends_what_it_reads_itself() -> None:
    before = threading.active_count()
    source = Source(50)
    read = ahead(source, depth=2)
    assert next(read) == 0
    read.close()
    assert threading.active_count() == before
    assert source.given < 50
    assert {source.ended_in} == source.threads


def test_what_fails_while_it_is_ended_early_does_no_harm() -> None:
    before = threading.active_count()
    read = ahead(Source(50, failing_end=OSError("cannot be ended")), depth=2)
    assert next(read) == 0
    read.close()
    assert threading.active_count() == before


def test_what_fails_at_its_end_is_told_and_leaves_nobody_waiting() -> None:
    read = ahead(Source(2, failing_end=OSError("cannot be ended")), depth=1)
    assert [next(read), next(read)] == [0, 1]
    with pytest.raises(OSError, match="cannot be ended"):
        next(read)
    assert next(read, None) is None
