"""Crops of many requests at once joined into batches for the network."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["Batcher"]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Crops that wait for the network."""

    crops: ImageArray  # (N, S, S) or (N, S, S, 3)
    told: Future[FloatArray]  # (N, number of labels)


class Batcher:
    """A thread that takes what waits, as much as fits a batch, and has the network read it at once.

    It never waits for a batch to fill: while one is read, the next one gathers.
    """

    BATCH = 64  # crops

    def __init__(
        self, predict: Callable[[ImageArray], FloatArray], *, on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        """Start the thread.  predict: crops to probabilities.  on_batch: is told how many crops each batch has."""
        self._predict = predict
        self._on_batch = on_batch
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mien-batches", daemon=True)
        self._thread.start()

    def submit(self, crops: ImageArray) -> Future[FloatArray]:
        """Return what will be the probabilities (N, number of labels) of crops; cancelled, they are left out."""
        waiting = _Waiting(crops, Future())
        self._queue.put(waiting)
        return waiting.told

    def close(self) -> None:
        """End the thread after what waits."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Read batches until the end."""
        while (first := self._queue.get()) is not None:
            batch, ended = [first], False
            while sum(len(each.crops) for each in batch) < self.BATCH and not self._queue.empty():
                if (following := self._queue.get()) is None:
                    ended = True
                    break
                batch.append(following)
            self._read([each for each in batch if each.told.set_running_or_notify_cancel()])
            if ended:
                return

    def _read(self, batch: list[_Waiting]) -> None:
        """Answer a batch."""
        if not batch:
            return
        try:
            crops = np.concatenate([each.crops for each in batch])
            self._on_batch(len(crops))
            ends = np.cumsum([len(each.crops) for each in batch])
            told = np.split(self._predict(crops), ends[:-1])
        except Exception as error:  # whatever it is, those who wait are told, and the next batch is read
            for each in batch:
                each.told.set_exception(error)
            return
        for each, probabilities in zip(batch, told, strict=True):
            each.told.set_result(probabilities)
