"""What the commands share: output on stderr that leaves stdout to results, and progress bars."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from mien.errors import InputError

if TYPE_CHECKING:
    from mien.data.prepare import Gathered

__all__ = ["err", "given", "interrupted_by_sigterm", "out", "plural", "progress_bar", "refuse_ignored", "tell_gathered"]

err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
# Where no terminal tells its width, tables are as wide as they need to be.
out = Console(highlight=False, emoji=False, width=None if sys.stdout and sys.stdout.isatty() else 240)

Advance = Callable[..., None]
ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the rate as text, once there is one."""
        speed = task.finished_speed or task.speed
        return Text(
            f"{speed:,.0f} {self._unit}/s" if speed and speed >= 10 else f"{speed:.1f} {self._unit}/s" if speed else ""
        )


def plural(number: int, what: str, several: str = "") -> str:
    """Return the word for so many of a thing."""
    return what if number == 1 else several or f"{what}s"


def given(context: typer.Context, name: str) -> bool:
    """Return whether an option was given."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_ignored(context: typer.Context, options: tuple[str, ...], why: str) -> None:
    """Raise InputError where one of some options was given: it would be ignored."""
    for name in options:
        if given(context, name):
            raise InputError(f"--{name.replace('_', '-')} would be ignored: {why}; leave it out")


def tell_gathered(gathered: Gathered) -> None:
    """Tell which rows of a source were dropped, and what was decided about the others."""
    from mien.data.prepare import listed

    if gathered.dropped:
        err.print(f"dropped:\n{listed(gathered.dropped)}", markup=False)
    for note in gathered.dataset.manifest.notes:
        err.print(note, markup=False)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Have SIGTERM, and a terminal that is closed (SIGHUP), end the block as Ctrl-C does: by a KeyboardInterrupt.

    What is ignored, as SIGHUP is under nohup, stays so.
    """

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(text: str, *, unit: str, total: int | None = None) -> Iterator[Advance]:
    """Yield a function that moves the bar: advance(done, total=None, text=None), with a rate and the time left.

    On a terminal alone; elsewhere nothing is shown.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        begun = False

        def advance(done: int, total: int | None = None, text: str | None = None) -> None:
            nonlocal begun
            if not begun:  # what was done before, by an earlier run, is not part of the rate
                progress.reset(task, completed=max(0, done - 1))
                begun = True
            if total is not None:
                progress.update(task, total=total)
            progress.update(task, completed=done, description=text)

        yield advance
