"""Where a search keeps what it knows: a study of Optuna's, marked with what it is of."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial

from mien.errors import InputError
from mien.files import write_text
from mien.train.checkpoint import first_line
from mien.train.config import Recipe, from_fields
from mien.train.search_space import Space, hashes_opened
from mien.train.start import hash_of_start
from mien.train.teach import hashes_of_teachers

__all__ = ["GRID_POINTS", "STRATEGIES", "Bench", "claim", "identity_of", "open_study", "trial_name"]

#: Those that the paper names (section IV.B).  Hyperband (Li et al. 2018) draws at random and ends what falls behind;
#: bayesian is the tree-structured Parzen estimator (Bergstra et al. 2011).
STRATEGIES = ("grid", "random", "hyperband", "bayesian")
GRID_POINTS = 3  # of an interval
BLIND_TRIALS = 5  # that bayesian draws at random before it looks at any; Optuna's 10 would make short searches random


def trial_name(number: int) -> str:
    """Return the name of a trial's folder."""
    return f"trial-{number:04}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a search works: its folder and what keeps the study."""

    folder: Path
    storage: str

    @property
    def is_database(self) -> bool:
        """Return whether machines with folders of their own may share it."""
        return "://" in self.storage

    @property
    def is_shared(self) -> bool:
        """Return whether trials of other folders may stand in it."""
        return self.is_database or Path(self.storage).resolve().parent != self.folder.resolve()

    @property
    def shown(self) -> str:
        """Return the storage as it may be printed: without the password, which may hold an @ or stand in the query."""
        return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.storage).partition("?")[0]

    @property
    def lock(self) -> FileLock:
        """Return what is held by who looks for work in the folder."""
        return FileLock(self.folder / "study.lock")

    def lock_of(self, number: int) -> FileLock:
        """Return what is held by who works on a trial; the system takes it back where that process ends."""
        return FileLock(self.folder / f"{trial_name(number)}.lock")

    @contextmanager
    def opened(self) -> Iterator[BaseStorage]:
        """Yield the storage.  InputError where there is none, or where it cannot be reached any more."""
        storage: BaseStorage | None = None
        try:
            if self.is_database:
                storage = RDBStorage(self.storage)
            else:
                # Optuna's other lock is a link that, of a relative path, leads nowhere and is waited for without end.
                path = str(Path(self.storage).resolve())
                lock = JournalFileOpenLock(path)
                _drop_torn_line(path, lock)
                storage = JournalStorage(JournalFileBackend(path, lock_obj=lock))
        except Exception as error:  # Optuna raises anything where a journal or a database is damaged or not there
            raise InputError(f"{self.shown}: no study can be kept there ({first_line(error)})") from error
        try:
            yield storage
        except (optuna.exceptions.StorageInternalError, json.JSONDecodeError) as error:
            raise InputError(
                f"{self.shown}: cannot be reached ({first_line(error)}); the same command goes on"
            ) from error
        finally:
            if isinstance(storage, RDBStorage):
                storage.remove_session()
                storage.engine.dispose()

    def token(self) -> str:
        """Return what marks the trials of this folder among those of others that share its storage."""
        path = self.folder / "folder.id"
        if not path.is_file():
            write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    def owns(self, frozen: FrozenTrial) -> bool:
        """Return whether a trial is this folder's: marked so, or in its own journal not marked at all."""
        mark = frozen.user_attrs.get("folder")
        return mark == self.token() if mark else not self.is_shared


def _drop_torn_line(path: str, lock: JournalFileOpenLock) -> None:
    """Cut a journal back to its last whole line: Optuna would write on behind one that a full disk has torn.

    Raises ValueError where the file is none.
    """
    lock.acquire()
    try:
        with Path(path).open("r+b") as file:
            content = file.read()
            if content and b"op_code" not in content.partition(b"\n")[0]:
                raise ValueError("it is no journal of Optuna's")
            file.truncate(content.rfind(b"\n") + 1)
    except FileNotFoundError:
        return
    finally:
        lock.release()


def identity_of(recipe: Recipe, space: Space, strategy: str, data_sha256: str) -> dict[str, Any]:
    """Return what makes a search this one and no other, as JSON keeps it."""
    opened = {key: dataclasses.asdict(values) for key, values in space.items()}
    identity = {
        "recipe": _what_counts(recipe), "data": data_sha256, "space": opened, "strategy": strategy,
        "teachers": hashes_of_teachers(recipe), "start": hash_of_start(recipe), "files": hashes_opened(recipe, space),
    }  # fmt: skip
    known: dict[str, Any] = json.loads(json.dumps(identity))
    return known


def _what_counts(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's fields without the folders of its data, which may be named in many ways; the hash tells."""
    fields = dataclasses.asdict(recipe)
    return {**fields, "data": {**fields["data"], "manifests": ("",)}}


def open_study(
    bench: Bench, storage: BaseStorage, recipe: Recipe, strategy: str, grid: Mapping[str, list[Any]]
) -> Study:
    """Return the study, made where there is none."""

    def sampler(number: int) -> BaseSampler:
        seed = (recipe.seed * 1_000_003 + number) % 2**32
        if strategy == "grid":
            return GridSampler(grid, seed=recipe.seed)
        return (
            TPESampler(seed=seed, n_startup_trials=BLIND_TRIALS) if strategy == "bayesian" else RandomSampler(seed=seed)
        )

    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if strategy == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=recipe.optimiser.epochs)
    return optuna.create_study(
        storage=storage,
        study_name=f"{recipe.name} {strategy}" if bench.is_database else "search",  # a file holds one
        direction="maximize",
        sampler=SeededByTrial(sampler),
        pruner=pruner,
        load_if_exists=True,
    )


def claim(bench: Bench, study: Study, identity: dict[str, Any]) -> None:
    """Note in a new study what it is of.  InputError where it is of another search."""
    known = study.user_attrs.get("search")
    if known is None:
        study.set_user_attr("search", identity)
        return
    # Through a recipe, so that settings which came with a newer version have their defaults.
    recipe = json.loads(json.dumps(_what_counts(from_fields(known["recipe"]))))
    noted = {**identity, **known, "recipe": recipe}  # of what a newer version notes an older one said nothing
    if differs := [key for key in identity if noted[key] != identity[key]]:
        remedy = "name another folder with --out"
        if bench.is_shared:
            remedy = "rename the recipe" if bench.is_database else "name another journal with --storage"
        raise InputError(f"{bench.shown}: holds a search with another {' and '.join(differs)}; {remedy}")


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
