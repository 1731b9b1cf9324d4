"""An iterable worked off in a thread of its own, a few items ahead of who takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
_LOOK_S = 0.1  # how often a thread that waits looks whether it is still wanted


def ahead(items: Iterable[Item], *, depth: int) -> Generator[Item]:
    """Yield the items of an iterable, which is iterated in a thread; what it raises is raised here, in its place.

    depth: how many items may wait.  Where the iterator is closed early, the thread ends at its next item.
    """
    waiting: queue.Queue[list[Item]] = queue.Queue(depth)  # of one item each; none: the end
    unwanted = threading.Event()
    failure: list[BaseException] = []

    def put(item: list[Item]) -> bool:
        while not unwanted.is_set():
            try:
                waiting.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            with closing(_iterated(items)) as iterator:  # in this thread, as what it holds may want
                for item in iterator:
                    if not put([item]):
                        break
        except BaseException as error:
            failure.append(error)
        finally:
            put([])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while came := waiting.get():
            yield came[0]
        if failure:
            raise failure[0]
    finally:
        unwanted.set()
        thread.join()


def _iterated(items: Iterable[Item]) -> Generator[Item]:
    """Yield items; where it is closed, so is what gives them."""
    yield from items
