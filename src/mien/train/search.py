"""Search over a recipe's settings by the paper's four strategies, on Optuna: survives kills, shared by processes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mien.errors import InputError, ModelError
from mien.files import make_folder, shortened, write_text
from mien.train.checkpoint import first_line
from mien.train.config import LONGEST_NAME, Recipe, dumps, with_values
from mien.train.curves import Row
from mien.train.devices import MemoryShortError, find_device
from mien.train.fit import fit
from mien.train.ready import check
from mien.train.search_figures import draw_search
from mien.train.search_space import Space
from mien.train.search_study import GRID_POINTS, STRATEGIES, Bench, claim, identity_of, open_study, trial_name

__all__ = ["Found", "Progress", "search"]

LARGEST_GRID = 10_000  # Optuna lists it for each trial
AGAIN = "again"  # a trial's note of the one whose settings it takes up
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


@dataclass(slots=True)
class Progress:
    """Who wants to hear what, while a search is under way."""

    on_batch: Callable[[int, int, int, int], None] | None = None  # trial, epoch, batches done, batches in the epoch
    on_trial: Callable[[int, str, float | None, Mapping[str, object]], None] | None = None  # number, state, value, what


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found so far."""

    recipe: Recipe  # the best, under a name of its own
    value: float  # its validation accuracy
    trial: int  # its number
    states: Mapping[str, int] = field(default_factory=dict)  # how many trials are in which state


def search(
    recipe: Recipe,
    space: Space,
    folder: str | Path,
    *,
    strategy: str,
    trials: int,
    storage: str = "",
    device: str = "auto",
    again: bool = True,
    progress: Progress | None = None,
) -> Found:
    """Try values for the settings that a space opens until there are so many trials, and return the best.

    folder: gets a folder for each trial, trials.csv, best.toml and pictures.  A trial that was killed is gone on with
    from its last epoch; several processes may work in one folder at once.
    storage: a database's URL or a journal file's path; empty: a journal file in the folder.
    A trial that cannot be trained (settings that do not go together, memory that is not enough) is counted as failed;
    where memory was not enough, the next call tries its settings once more (again), in a trial of its own.
    Raises InputError where the folder or storage holds another search or cannot be reached, or no trial has come to an
    end; RecipeError and DataError where the recipe itself cannot be trained.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}; expected one of {', '.join(STRATEGIES)}")
    folder, progress = Path(folder), progress or Progress()
    data_sha256 = check(recipe, find_device(device))  # what no trial could do is told of now
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make_folder(folder)
    grid = {key: opened.grid(GRID_POINTS) for key, opened in space.items()}
    if strategy == "grid":
        combinations = math.prod(len(points) for points in grid.values())
        if combinations > LARGEST_GRID:
            raise InputError(
                f"a grid of {combinations:,} combinations; expected {LARGEST_GRID:,} at most: open fewer settings, or "
                "search by another strategy"
            )
        trials = min(trials, combinations)
    bench = Bench(folder, storage or str(folder / "study.journal"))
    with bench.opened() as kept:
        with bench.lock:
            study = open_study(bench, kept, recipe, strategy, grid)
            claim(bench, study, identity_of(recipe, space, strategy, data_sha256))
            _refuse_strangers(study, folder)
            if again:
                _try_again(bench, study)
        while (taken := _take(bench, study, trials)) is not None:
            trial, lock = taken
            try:
                _run(trial, recipe, space, folder / trial_name(trial.number), device, progress)
            finally:
                lock.release()
            _write_trials(study, space, folder / "trials.csv")
        return _conclude(study, recipe, space, folder)


def _take(bench: Bench, study: Study, trials: int) -> tuple[Trial, FileLock] | None:
    """Return a trial that nobody works on, an interrupted one first, and its lock; None where there are enough."""
    with bench.lock:
        known = study.get_trials(deepcopy=False)
        for frozen in known:
            if frozen.state is not TrialState.RUNNING or not bench.owns(frozen):
                continue
            lock = bench.lock_of(frozen.number)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            if _look_up(study, frozen.number).state is TrialState.RUNNING:  # it may have ended while the lock was got
                return Trial(study, frozen._trial_id), lock  # Optuna has no other way back into a trial
            lock.release()
        waits = any(frozen.state is TrialState.WAITING for frozen in known)
        if not waits and len(known) - len(_tried_again(known)) >= trials:
            return None
        trial = study.ask()
        trial.set_user_attr("folder", bench.token())
        lock = bench.lock_of(trial.number)
        lock.acquire(timeout=0)
        return trial, lock


def _tried_again(known: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials whose settings another one takes up."""
    return {frozen.user_attrs[AGAIN] for frozen in known if AGAIN in frozen.user_attrs}


def _try_again(bench: Bench, study: Study) -> None:
    """Let the folder's trials that failed for want of memory wait for another try: there may be more of it now."""
    known = study.get_trials(deepcopy=False)
    done = _tried_again(known)
    for frozen in known:
        lacked = frozen.state is TrialState.FAIL and frozen.user_attrs.get("lacked_memory")
        if lacked and frozen.number not in done and bench.owns(frozen):
            study.enqueue_trial(frozen.params, user_attrs={AGAIN: frozen.number, "folder": bench.token()})


def _refuse_strangers(study: Study, folder: Path) -> None:
    """Raise InputError where a folder has trials that its study does not know: their logs would count as its own."""
    known = {trial_name(frozen.number) for frozen in study.get_trials(deepcopy=False)}
    if strangers := sorted(path.name for path in folder.glob("trial-*") if path.is_dir() and path.name not in known):
        raise InputError(f"{folder}: {strangers[0]} there is of another search; remove it, or name another folder")


def _name_of_trial(recipe: Recipe, number: int) -> str:
    """Return the name under which a trial trains."""
    return shortened(f"{recipe.name} {trial_name(number)}", LONGEST_NAME)


def _look_up(study: Study, number: int) -> FrozenTrial:
    """Return what is known of a trial now."""
    return study.get_trials(deepcopy=False)[number]


def _run(trial: Trial, recipe: Recipe, space: Space, folder: Path, device: str, progress: Progress) -> None:
    """Train one trial to its end, or until the strategy gives it up; what it leaves is its log."""
    number, study = trial.number, trial.study
    values = {key: opened.suggest(trial, key) for key, opened in space.items()}
    reported = set(_look_up(study, number).intermediate_values)

    def report(row: Mapping[str, Any]) -> None:
        if int(row["epoch"]) not in reported:
            trial.report(float(row["val_accuracy"]), int(row["epoch"]))
            reported.add(int(row["epoch"]))

    logged = _logged(folder)
    for row in logged:  # an epoch may have been logged and, the process killed, not reported
        report(row)

    def give_up(epoch: int) -> None:
        """End the trial where the strategy wants it, before its last epoch: then it is whole."""
        if epoch < candidate.optimiser.epochs and trial.should_prune():
            trial.set_user_attr("pruned", True)
            raise optuna.TrialPruned

    def on_epoch(row: Row) -> None:
        report(row)
        give_up(int(row["epoch"]))

    def on_batch(epoch: int, done: int, steps: int) -> None:
        if progress.on_batch:
            progress.on_batch(number, epoch, done, steps)

    state, value = TrialState.COMPLETE, None
    try:
        if trial.user_attrs.get("pruned"):  # and killed before that was written down
            raise optuna.TrialPruned
        candidate = with_values(recipe, values, name=_name_of_trial(recipe, number))
        if logged:  # it may have been killed before this was asked
            give_up(int(logged[-1]["epoch"]))
        value = fit(candidate, folder, resume=True, device=device, on_batch=on_batch, on_epoch=on_epoch).val_accuracy
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except (InputError, ModelError, RuntimeError) as error:  # RuntimeError: what torch cannot do
        state = TrialState.FAIL
        trial.set_user_attr("reason", first_line(error))
        trial.set_user_attr("lacked_memory", isinstance(error, MemoryShortError))
    told = study.tell(trial, value, state=state)
    for weights in folder.glob("*.pt"):  # where the process is killed just here, they stay and do no harm
        weights.unlink()
    if progress.on_trial:
        progress.on_trial(number, told.state.name.lower(), told.value, values)


def _logged(folder: Path) -> list[dict[str, str]]:
    """Return the log of a run, a row an epoch; [] where there is none."""
    if not (folder / "log.csv").is_file():
        return []
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_trials(study: Study, space: Space, path: Path) -> None:
    """Write every trial's number, state, validation accuracy, epochs and settings as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "val_accuracy", "epochs", *space, "reason"])
    for frozen in study.get_trials(deepcopy=False):
        settings = [opened.decode(frozen.params[key]) if key in frozen.params else "" for key, opened in space.items()]
        value = "" if frozen.value is None else f"{frozen.value:.6g}"
        reason = frozen.user_attrs.get("reason", "")
        writer.writerow([frozen.number, frozen.state.name.lower(), value, frozen.last_step or "", *settings, reason])
    write_text(path, text.getvalue())


def _conclude(study: Study, recipe: Recipe, space: Space, folder: Path) -> Found:
    """Write the best recipe and the pictures, and return what was found."""
    _write_trials(study, space, folder / "trials.csv")
    states = {state.name.lower(): len(study.get_trials(deepcopy=False, states=(state,))) for state in STATES}
    if not states["complete"]:
        under_way = states["running"]
        told = "trials.csv there tells why; the same command tries again what lacked memory, and nothing else"
        why = f"{under_way} under way elsewhere" if under_way else told
        raise InputError(f"{folder}: no trial came to its end; {why}")
    best = study.best_trial
    values = {key: opened.decode(best.params[key]) for key, opened in space.items()}
    found = with_values(recipe, values, name=shortened(f"{recipe.name}-best", LONGEST_NAME))
    write_text(folder / "best.toml", dumps(found))
    draw_search(study, folder)
    assert best.value is not None
    return Found(found, best.value, best.number, states)
