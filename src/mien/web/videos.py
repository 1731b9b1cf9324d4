"""Videos that are read while their senders wait: a folder for each, gone with it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mien.errors import MienError, OutputError
from mien.files import output_errors
from mien.recognize import Recognizer
from mien.video import duration_of
from mien.web.limits import Limits, too_many
from mien.web.metrics import Metrics
from mien.web.video_reading import Cancelled, Task, read_video

__all__ = ["STATES", "Videos"]

log = logging.getLogger(__name__)

STATES = ("waiting", "running", "done", "failed")
RETRY_AFTER_S = 10  # a video takes that long at least to be done with


@dataclass(slots=True)
class _Job:
    """A video and how far it is."""

    id: str
    task: Task
    state: str = "waiting"
    error: str | None = None
    working: Future[None] | None = None
    expiring: asyncio.Task[None] | None = None

    def told(self) -> dict[str, Any]:
        """Return what clients are told of it."""
        task, ended = self.task, self.state in ("done", "failed")
        progress = min(task.time_s / task.duration_s, 1.0) if task.duration_s else 0.0
        return {
            "id": self.id,
            "state": self.state,
            "progress": 1.0 if ended else round(progress, 4),
            "time_s": round(task.time_s, 3),
            "duration_s": None if task.duration_s is None else round(task.duration_s, 3),
            "faces": task.faces,
            "annotated": task.annotate,
            "error": self.error,
        }


class Videos:
    """The videos that are here.  For one thread, that of the event loop; one more reads them, one after the other."""

    def __init__(self, make_recognizer: Callable[[], Recognizer], *, limits: Limits, metrics: Metrics) -> None:
        """Begin without a video; make_recognizer: one for each of them."""
        self._make_recognizer = make_recognizer
        self._limits = limits
        self._faces = metrics.faces.labels("videos")
        self._jobs: dict[str, _Job] = {}
        self._coming = 0
        self._threads = ThreadPoolExecutor(1, "mien-videos")
        for state in STATES:
            metrics.watch(f"mien_videos_{state}", f"Videos that are {state}.", partial(self._count, state))

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Yield a new folder for a video that comes in; where the block fails, it is removed.

        Raises HTTPException 429 where there are as many videos as may be.
        """
        if len(self._jobs) + self._coming >= self._limits.max_videos:
            raise too_many(
                f"{self._limits.max_videos} videos are here, as many as are at once; delete one that is done, or try"
                " again.", retry_after_s=RETRY_AFTER_S,
            )  # fmt: skip
        with output_errors(Path(tempfile.gettempdir())):
            folder = Path(tempfile.mkdtemp(prefix="mien-serve-"))  # which nobody else may enter
        self._coming += 1
        try:
            yield folder
        except BaseException:
            _remove(folder)
            raise
        finally:
            self._coming -= 1

    async def start(self, folder: Path, *, name: str, every_s: float, annotate: bool) -> dict[str, Any]:
        """Return the job of a video that has come into a folder (as `source`), which is read in its turn.

        Raises VideoError where it cannot be opened, holds no video or says that it lasts too long.
        """
        task = Task(folder, name=name, every_s=every_s, annotate=annotate, max_s=self._limits.max_video_s)
        with task.own_words():
            task.duration_s = await asyncio.to_thread(duration_of, task.source)
            task.check_duration()
        job = _Job(secrets.token_urlsafe(16), task)  # as no other user of the machine may guess it or see it
        self._jobs[job.id] = job
        job.working = self._threads.submit(self._run, job)
        job.expiring = asyncio.create_task(self._expire(job, job.working))
        return job.told()

    def told(self, job_id: str) -> dict[str, Any] | None:
        """Return a job; None where there is none of that name, or no longer."""
        job = self._jobs.get(job_id)
        return None if job is None else job.told()

    def file(self, job_id: str, name: str) -> tuple[Path, str]:
        """Return where a file of a job lies that is done, and the name that its video came with."""
        task = self._jobs[job_id].task
        return task.folder / name, task.name

    def delete(self, job_id: str) -> bool:
        """End a job where it runs and delete everything of it; return whether there was one."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return False
        job.task.cancelled.set()
        if job.working is not None:
            job.working.cancel()
            job.working.add_done_callback(lambda _: _remove(job.task.folder))  # where it runs, it notices in a moment
        if job.expiring is not None:
            job.expiring.cancel()
        return True

    async def close(self) -> None:
        """End and delete all."""
        for job_id in list(self._jobs):
            self.delete(job_id)
        await asyncio.to_thread(self._threads.shutdown)

    def _count(self, state: str) -> int:
        """Return how many jobs are in a state."""
        return Counter(job.state for job in list(self._jobs.values()))[state]

    async def _expire(self, job: _Job, working: Future[None]) -> None:
        """Keep what a job comes to for a while, and delete it."""
        await asyncio.wrap_future(working)
        await asyncio.sleep(self._limits.keep_s)
        self.delete(job.id)

    def _run(self, job: _Job) -> None:
        """Do a job, in the thread of the videos."""
        job.state = "running"
        try:
            job.error = read_video(self._make_recognizer(), job.task)
            job.state = "done"
        except Cancelled:
            pass
        except (OutputError, OSError) as error:
            log.error("%s", error)  # for who runs it: names of folders are not for clients
            job.state, job.error = "failed", "There is no room on the service's disk, or no right to write to it."
        except MienError as error:
            job.state, job.error = "failed", str(error)
        except Exception:
            log.exception("error of the service")
            job.state, job.error = "failed", "An error of the service; its log says more."
        self._faces.inc(job.task.faces)
        if job.state == "failed":
            _remove(job.task.folder)


def _remove(folder: Path) -> None:
    """Remove a folder and all in it; what is no longer there is no error."""
    shutil.rmtree(folder, ignore_errors=True)
