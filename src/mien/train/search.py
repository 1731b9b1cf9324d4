"""Search over a recipe's settings by the paper's four strategies, on Optuna: survives kills, shared by processes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mien.errors import InputError, RecipeError
from mien.files import atomic_path, make_folder, write_text
from mien.train.config import Recipe, dumps, with_values
from mien.train.curves import Row
from mien.train.dataset import load
from mien.train.fit import fit
from mien.train.search_space import Space

__all__ = ["STRATEGIES", "Found", "Progress", "search"]

#: Those that the paper names (section IV.B).  Hyperband (Li et al. 2018) draws at random and ends what falls behind;
#: bayesian is the tree-structured Parzen estimator (Bergstra et al. 2011).
STRATEGIES = ("grid", "random", "hyperband", "bayesian")
GRID_POINTS = 3  # of an interval
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

optuna.logging.set_verbosity(optuna.logging.ERROR)


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
    states: Mapping[str, int] = field(default_factory=dict)  # how many trials ended how


def search(
    recipe: Recipe,
    space: Space,
    folder: str | Path,
    *,
    strategy: str,
    trials: int,
    storage: str = "",
    device: str = "auto",
    progress: Progress | None = None,
) -> Found:
    """Try values for the settings that a space opens until there are so many trials, and return the best.

    folder: gets a folder for each trial, trials.csv, best.toml and pictures.  A trial that was killed is gone on with
    from its last epoch; several processes may work in one folder at once.
    storage: a database's URL, shared by machines; empty: a journal file in the folder.
    Raises InputError where the folder or database holds another search, or no trial has come to an end; RecipeError
    and DataError as `fit` does before the first trial.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}; expected one of {', '.join(STRATEGIES)}")
    folder, progress = Path(folder), progress or Progress()
    identity = _identity(recipe, space, strategy, load(recipe.data).manifest_sha256)
    make_folder(folder)
    grid = {key: values.grid(GRID_POINTS) for key, values in space.items()}
    if strategy == "grid":
        trials = min(trials, math.prod(len(points) for points in grid.values()))
    with FileLock(folder / "study.lock"):
        study = _open_study(recipe, strategy, storage or str(folder / "study.journal"), grid, identity)
    while (taken := _take(study, folder, trials)) is not None:
        trial, lock = taken
        try:
            _run(study, trial, recipe, space, folder / _name(trial.number), device, progress)
        finally:
            lock.release()
        write_trials(study, space, folder / "trials.csv")
    return _conclude(study, recipe, space, folder)


def _identity(recipe: Recipe, space: Space, strategy: str, data_sha256: str) -> dict[str, Any]:
    """Return what makes a search this one and no other, as JSON keeps it."""
    fields = dataclasses.asdict(recipe)
    fields["data"] = {**fields["data"], "manifests": data_sha256}
    opened = {key: dataclasses.asdict(values) for key, values in space.items()}
    identity: dict[str, Any] = json.loads(json.dumps({"recipe": fields, "space": opened, "strategy": strategy}))
    return identity


def _open_study(
    recipe: Recipe, strategy: str, storage: str, grid: Mapping[str, list[Any]], identity: dict[str, Any]
) -> Study:
    """Return the study of that name, made where there is none.  InputError where it is of another search."""

    def sampler(number: int) -> BaseSampler:
        seed = (recipe.seed * 1_000_003 + number) % 2**32
        if strategy == "grid":
            return GridSampler(grid, seed=recipe.seed)
        return TPESampler(seed=seed) if strategy == "bayesian" else RandomSampler(seed=seed)

    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if strategy == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=recipe.optimiser.epochs)
    try:
        study = optuna.create_study(
            storage=_open_storage(storage),
            study_name=f"{recipe.name} {strategy}",
            direction="maximize",
            sampler=SeededByTrial(sampler),
            pruner=pruner,
            load_if_exists=True,
        )
        known = study.user_attrs.get("search")
    except Exception as error:  # a journal or a database that is damaged or not there can make Optuna raise anything
        raise InputError(f"{storage}: no study can be kept there ({str(error).partition(chr(10))[0]})") from error
    if known is None:
        study.set_user_attr("search", identity)
    elif known != identity:
        differs = [key for key in identity if known.get(key) != identity[key]]
        raise InputError(f"{storage}: holds the study of another {' and '.join(differs)}; name another folder with --out")
    return study


def _open_storage(storage: str) -> BaseStorage:
    """Return the storage of a database's URL or a journal file's path."""
    return RDBStorage(storage) if "://" in storage else JournalStorage(JournalFileBackend(storage))


class SeededByTrial(BaseSampler):
    """A sampler whose draws depend on the seed and the trial's number, whichever process runs it, and when."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        """Hold what makes a sampler for a trial's number."""
        self._make = make
        self._inner = make(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial."""
        self._inner = self._make(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what is drawn together."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw that."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one value."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


def _name(number: int) -> str:
    """Return the name of a trial's folder."""
    return f"trial-{number:04}"


def _take(study: Study, folder: Path, trials: int) -> tuple[Trial, FileLock] | None:
    """Return a trial that nobody works on, an interrupted one first, and its lock; None where there are enough."""
    with FileLock(folder / "study.lock"):
        known = study.get_trials(deepcopy=False)
        for frozen in known:
            # Whose folder is here: a running trial of another machine has its folder there.
            if frozen.state is TrialState.RUNNING and (folder / _name(frozen.number)).is_dir():
                lock = _lock(folder, frozen.number)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return Trial(study, frozen._trial_id), lock  # Optuna has no other way back into a trial
        if len(known) >= trials:
            return None
        trial = study.ask()
        make_folder(folder / _name(trial.number))
        lock = _lock(folder, trial.number)
        lock.acquire(timeout=0)
        return trial, lock


def _lock(folder: Path, number: int) -> FileLock:
    """Return the lock that whoever works on a trial holds; the system takes it back where that process ends."""
    return FileLock(folder / f"{_name(number)}.lock")


def _run(
    study: Study, trial: Trial, recipe: Recipe, space: Space, folder: Path, device: str, progress: Progress
) -> None:
    """Train one trial to its end, or until the strategy gives it up; what it leaves is its log."""
    number = trial.number
    values = {key: opened.suggest(trial, key) for key, opened in space.items()}

    def on_epoch(row: Row) -> None:
        trial.report(row["val_accuracy"], int(row["epoch"]))
        if row["epoch"] < recipe.optimiser.epochs and trial.should_prune():  # at its end it is whole
            raise optuna.TrialPruned

    def on_batch(epoch: int, done: int, steps: int) -> None:
        if progress.on_batch:
            progress.on_batch(number, epoch, done, steps)

    state, value = TrialState.COMPLETE, None
    try:
        candidate = with_values(recipe, values, name=f"{recipe.name} {_name(number)}")
        value = fit(
            candidate, folder, resume=True, device=device, on_batch=on_batch, on_epoch=on_epoch
        ).val_accuracy
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except RecipeError as error:  # settings that do not go together, or a loss that is no number
        state = TrialState.FAIL
        trial.set_user_attr("reason", str(error))
    told = study.tell(trial, value, state=state)
    for name in ("last.pt", "best.pt"):
        (folder / name).unlink(missing_ok=True)
    if progress.on_trial:
        progress.on_trial(number, told.state.name.lower(), told.value, values)


def write_trials(study: Study, space: Space, path: Path) -> None:
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
    write_trials(study, space, folder / "trials.csv")
    states = {state.name.lower(): len(study.get_trials(deepcopy=False, states=(state,))) for state in ENDED}
    if not states["complete"]:
        raise InputError(f"{folder}: no trial came to its end; trials.csv there tells why")
    best = study.best_trial
    values = {key: opened.decode(best.params[key]) for key, opened in space.items()}
    found = with_values(recipe, values, name=f"{recipe.name}-best")
    write_text(folder / "best.toml", dumps(found))
    draw(study, folder)
    assert best.value is not None
    return Found(found, best.value, best.number, states)


def draw(study: Study, folder: Path) -> None:
    """Draw the history, the settings' importances (where there are trials enough) and their parallel coordinates."""
    from optuna.visualization import matplotlib as plots

    with _without_display(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what may change in Optuna, and of axes whose ends are the same
        warnings.filterwarnings("error", "The number of trials is too small")
        for name, plot in (
            ("history", plots.plot_optimization_history),
            ("importances", plots.plot_param_importances),
            ("parallel", plots.plot_parallel_coordinate),
        ):
            try:
                axes = plot(study)
            except (ValueError, RuntimeError, UserWarning):  # few trials tell nothing of importance
                continue
            figure = axes.figure
            figure.set_size_inches(9, 4.5)
            with atomic_path(folder / f"{name}.png") as temporary:
                figure.savefig(temporary, dpi=120, bbox_inches="tight")


@contextmanager
def _without_display() -> Iterator[None]:
    """Let Optuna, which draws with pyplot, draw where there is no screen, and close what it opened."""
    import matplotlib as mpl
    from matplotlib import pyplot

    backend = mpl.get_backend()
    pyplot.switch_backend("agg")
    try:
        yield
    finally:
        pyplot.close("all")
        pyplot.switch_backend(backend)
