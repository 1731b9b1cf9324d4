"""A search finds, remembers, goes on after a kill, and shares its work."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pytest
from filelock import FileLock

from mien.errors import InputError, RecipeError
from mien.train import fit as fit_module
from mien.train import search as search_module
from mien.train.config import ModelConfig, Recipe, TeacherConfig, dumps, read_recipe
from mien.train.fit import FitResult, fit
from mien.train.search import Found, Progress, search
from mien.train.search_figures import draw_search
from mien.train.search_space import Choices, Interval, Space
from mien.train.search_study import STRATEGIES

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]

SPACE: Space = {"optimiser.learning_rate": Interval(1e-7, 0.1, log=True), "optimiser.batch_size": Choices((10, 20))}

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def recipe(make_dataset: MakeDataset, make_recipe: MakeRecipe) -> Recipe:
    return make_recipe(make_dataset(train=70, val=28), epochs=3, average=0.0, warmup_epochs=0)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of_log(folder: Path, trial: int) -> list[dict[str, str]]:
    with (folder / f"trial-{trial:04}" / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class Killed(BaseException):
    """As if the process ended."""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_tries_as_many_as_it_is_told_and_writes_the_best(
    recipe: Recipe, tmp_path: Path, strategy: str
) -> None:
    found = search(recipe, SPACE, tmp_path / "out", strategy=strategy, trials=5)
    table = rows(tmp_path / "out")
    assert [row["trial"] for row in table] == [str(number) for number in range(5)]
    assert {row["state"] for row in table} <= {"complete", "pruned"}
    complete = {int(row["trial"]): float(row["val_accuracy"]) for row in table if row["state"] == "complete"}
    assert found.value == pytest.approx(max(complete.values()), abs=1e-5)
    assert complete[found.trial] == pytest.approx(found.value, abs=1e-5)
    written = read_recipe(tmp_path / "out/best.toml")
    assert written == found.recipe
    assert written.name == "run-best"
    best = table[found.trial]
    assert written.optimiser.learning_rate == float(best["optimiser.learning_rate"])
    assert written.optimiser.batch_size == int(best["optimiser.batch_size"])
    for name in ("history.png", "parallel.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5000
    assert not list((tmp_path / "out").rglob("*.pt")), "the weights of trials are not kept"


def test_a_grid_is_walked_through_once_and_has_an_end(recipe: Recipe, tmp_path: Path) -> None:
    search(recipe, SPACE, tmp_path / "out", strategy="grid", trials=100)
    tried = [
        (float(row["optimiser.learning_rate"]), int(row["optimiser.batch_size"])) for row in rows(tmp_path / "out")
    ]
    assert len(tried) == 6
    assert {size for _, size in tried} == {10, 20}
    for size in (10, 20):
        assert sorted(rate for rate, other in tried if other == size) == pytest.approx([1e-7, 1e-4, 0.1], rel=1e-3)


def test_a_larger_number_goes_on_and_a_reached_one_does_nothing(recipe: Recipe, tmp_path: Path) -> None:
    trained: list[int] = []
    progress = Progress(on_trial=lambda number, *_: trained.append(number))
    for trials in (2, 4, 4, 3):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=trials, progress=progress)
    assert trained == [0, 1, 2, 3]
    whole = search(recipe, SPACE, tmp_path / "whole", strategy="random", trials=4)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole"), "in two halves it is another search"
    assert whole.trial == search(recipe, SPACE, tmp_path / "out", strategy="random", trials=4).trial
    other = search(replace(recipe, seed=1), SPACE, tmp_path / "other", strategy="random", trials=4)
    assert isinstance(other, Found)
    assert rows(tmp_path / "other") != rows(tmp_path / "out")


def test_a_killed_trial_goes_on_from_its_last_epoch(recipe: Recipe, tmp_path: Path) -> None:
    def kill(trial: int, epoch: int, done: int, _of: int) -> None:
        if (trial, epoch, done) == (1, 3, 2):
            raise Killed

    with pytest.raises(Killed):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3, progress=Progress(on_batch=kill))
    epochs: list[tuple[int, int]] = []
    progress = Progress(on_batch=lambda trial, epoch, *_: epochs.append((trial, epoch)))
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3, progress=progress)
    assert sorted(set(epochs)) == [(1, 3), (2, 1), (2, 2), (2, 3)]
    search(recipe, SPACE, tmp_path / "whole", strategy="random", trials=3)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


def test_a_trial_that_another_process_works_on_is_left_to_it(recipe: Recipe, tmp_path: Path) -> None:
    def kill(trial: int, *_: int) -> None:
        if trial == 1:
            raise Killed

    with pytest.raises(Killed):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3, progress=Progress(on_batch=kill))
    trained: list[int] = []
    progress = Progress(on_trial=lambda number, *_: trained.append(number))
    with FileLock(tmp_path / "out/trial-0001.lock"):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3, progress=progress)
    assert trained == [2]
    assert rows(tmp_path / "out")[1]["state"] == "running"
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3, progress=progress)
    assert trained == [2, 1]


def test_hyperband_ends_early_what_falls_behind(recipe: Recipe, tmp_path: Path) -> None:
    longer = replace(recipe, optimiser=replace(recipe.optimiser, epochs=9))
    search(longer, SPACE, tmp_path / "out", strategy="hyperband", trials=12)
    table = rows(tmp_path / "out")
    ended = [row for row in table if row["state"] == "pruned"]
    assert ended
    assert all(int(row["epochs"]) < 9 for row in ended)
    assert all(row["epochs"] == "9" for row in table if row["state"] == "complete")


def test_settings_that_do_not_go_together_are_told_and_the_rest_is_done(recipe: Recipe, tmp_path: Path) -> None:
    space: Space = {"optimiser.epochs": Choices((1, 3)), "optimiser.warmup_epochs": Choices((0, 2))}
    states: list[str] = []
    progress = Progress(on_trial=lambda _number, state, *_: states.append(state))
    search(recipe, space, tmp_path / "out", strategy="grid", trials=9, progress=progress)
    assert sorted(states) == ["complete", "complete", "complete", "fail"]
    (failed,) = (row for row in rows(tmp_path / "out") if row["state"] == "fail")
    assert (failed["optimiser.epochs"], failed["optimiser.warmup_epochs"]) == ("1", "2")
    assert "optimiser.warmup_epochs" in failed["reason"]


def test_a_study_of_another_search_is_refused(recipe: Recipe, make_dataset: MakeDataset, tmp_path: Path) -> None:
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=1)
    other_data = replace(recipe, data=replace(recipe.data, manifests=(str(make_dataset("other", seed=1)),)))
    changed: list[tuple[Recipe, Any, str]] = [
        (replace(recipe, seed=5), SPACE, "recipe"),
        (replace(recipe, name="other"), SPACE, "recipe"),
        (other_data, SPACE, "data"),
        (recipe, {"model.dropout": Choices((0.1,))}, "space"),
    ]
    for other, space, what in changed:
        with pytest.raises(InputError, match=f"holds a search with another {what}; name another folder"):
            search(other, space, tmp_path / "out", strategy="random", trials=2)
    with pytest.raises(InputError, match="holds a search with another strategy; name another folder"):
        search(recipe, SPACE, tmp_path / "out", strategy="bayesian", trials=2)
    assert len(rows(tmp_path / "out")) == 1


def test_a_recipe_that_no_trial_could_train_is_refused_before_the_first(recipe: Recipe, tmp_path: Path) -> None:
    for broken, reason in (
        (replace(recipe, teacher=TeacherConfig(("missing.onnx",))), r"its teacher cannot be used: missing\.onnx"),
        (replace(recipe, model=replace(recipe.model, name="nobody")), "unknown model 'nobody'"),
    ):
        with pytest.raises(RecipeError, match=reason):
            search(broken, SPACE, tmp_path / "out", strategy="random", trials=2)
    assert not (tmp_path / "out").exists()


def test_a_trial_that_needs_more_than_there_is_counts_as_failed(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(candidate: Recipe, *arguments: Any, **named: Any) -> FitResult:
        if candidate.name.endswith("trial-0001"):
            raise RuntimeError("not enough memory: you tried to allocate 9 TB\nwith a trace behind it")
        return fit(candidate, *arguments, **named)

    monkeypatch.setattr(search_module, "fit", out_of_memory)
    found = search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3)
    assert found.states == {"complete": 2, "pruned": 0, "fail": 1, "running": 0}
    assert rows(tmp_path / "out")[1]["reason"] == "not enough memory: you tried to allocate 9 TB"


@pytest.mark.parametrize("strategy", ["random", "grid"])
def test_what_lacked_memory_is_tried_again_by_the_next_call(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    for told, name in (("can't allocate memory", "out"), ("shapes cannot be multiplied", "for good")):

        def failing(*_: Any, told: str = told, **__: Any) -> FitResult:
            raise RuntimeError(told)

        with monkeypatch.context() as patch:
            patch.setattr(fit_module, "_fit", failing)
            for _ in range(2):
                with pytest.raises(
                    InputError, match=r"no trial came to its end; trials\.csv there tells why; the same"
                ):
                    search(recipe, SPACE, tmp_path / name, strategy=strategy, trials=2, again=False)
        assert [row["state"] for row in rows(tmp_path / name)] == ["fail", "fail"]
    with pytest.raises(InputError, match="no trial came to its end"):
        search(recipe, SPACE, tmp_path / "for good", strategy=strategy, trials=2)
    assert len(rows(tmp_path / "for good")) == 2
    for _ in range(2):  # the second call has nothing left to do
        found = search(recipe, SPACE, tmp_path / "out", strategy=strategy, trials=2)
        assert found.states == {"complete": 2, "pruned": 0, "fail": 2, "running": 0}
    search(recipe, SPACE, tmp_path / "whole", strategy=strategy, trials=2)
    kept = ("val_accuracy", *SPACE)
    again, whole = ([[row[key] for key in kept] for row in rows(tmp_path / name)] for name in ("out", "whole"))
    assert again[2:] == whole


@pytest.mark.parametrize(
    "url", ["nosuch://anna:secret@host/db", "nosuch://anna:x@secret@host/db", "nosuch://host/db?user=a&password=secret"]
)
def test_a_password_is_not_printed(recipe: Recipe, tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="host/db: no study can be kept there") as raised:
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=1, storage=url)
    assert "secret" not in str(raised.value)


def test_a_line_that_a_full_disk_has_torn_costs_that_line_alone(recipe: Recipe, tmp_path: Path) -> None:
    search(recipe, SPACE, tmp_path / "whole", strategy="random", trials=3)
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=2)
    journal = tmp_path / "out/study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"worker_id":"torn')
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=3)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    note = tmp_path / "note.json"
    note.write_bytes(b'{"mine": 1}')
    with pytest.raises(InputError, match="no study can be kept there"):
        search(recipe, SPACE, tmp_path / "other", strategy="random", trials=1, storage=str(note))
    assert note.read_bytes() == b'{"mine": 1}'


def test_a_journal_outside_the_folder_leaves_each_folder_its_own_trials(recipe: Recipe, tmp_path: Path) -> None:
    shared = str(tmp_path / "shared.journal")

    def kill(*_: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        search(recipe, SPACE, tmp_path / "a", strategy="random", trials=2, storage=shared, progress=Progress(kill))
    trained: list[int] = []
    progress = Progress(on_trial=lambda number, *_: trained.append(number))
    for folder, done in (("b", [1]), ("a", [1, 0])):
        search(recipe, SPACE, tmp_path / folder, strategy="random", trials=2, storage=shared, progress=progress)
        assert trained == done


def test_a_folder_leaves_alone_what_another_one_does_in_its_journal(recipe: Recipe, tmp_path: Path) -> None:
    def kill(*_: int) -> None:
        raise Killed

    search(recipe, SPACE, tmp_path / "a", strategy="random", trials=1)
    journal = str(tmp_path / "a/study.journal")
    with pytest.raises(Killed):
        search(recipe, SPACE, tmp_path / "b", strategy="random", trials=2, storage=journal, progress=Progress(kill))
    trained: list[int] = []
    progress = Progress(on_trial=lambda number, *_: trained.append(number))
    search(recipe, SPACE, tmp_path / "a", strategy="random", trials=3, progress=progress)
    assert trained == [2]
    search(recipe, SPACE, tmp_path / "b", strategy="random", trials=3, storage=journal, progress=progress)
    assert trained == [2, 1]


def test_trials_of_another_search_are_not_taken_for_ones_own(recipe: Recipe, tmp_path: Path) -> None:
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=2)
    (tmp_path / "out/study.journal").unlink()
    with pytest.raises(InputError, match="trial-0000 there is of another search; remove it, or name another folder"):
        search(recipe, SPACE, tmp_path / "out", strategy="hyperband", trials=2)


def test_another_teacher_of_the_same_name_makes_another_search(
    recipe: Recipe, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = make_model()
    recipe = replace(recipe, teacher=TeacherConfig((str(teacher),)))
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=1)
    teacher.write_bytes(make_model("other.onnx", mirror=True).read_bytes())
    with pytest.raises(InputError, match="holds a search with another teachers"):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=2)
    plain, opened = replace(recipe, teacher=TeacherConfig()), {**SPACE, "teacher.models": Choices(([str(teacher)],))}
    search(plain, opened, tmp_path / "opened", strategy="random", trials=1)
    teacher.write_bytes(make_model("third.onnx", answers=("fer2013", "ferplus")).read_bytes())
    with pytest.raises(InputError, match="holds a search with another files"):
        search(plain, opened, tmp_path / "opened", strategy="random", trials=2)


def test_a_trial_that_was_killed_before_it_was_judged_is_judged_when_it_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = replace(recipe, optimiser=replace(recipe.optimiser, epochs=9))
    search(longer, SPACE, tmp_path / "whole", strategy="hyperband", trials=12)
    ended = [int(row["trial"]) for row in rows(tmp_path / "whole") if row["state"] == "pruned"]
    report = optuna.Trial.report

    def kill(trial: optuna.Trial, value: float, step: int) -> None:
        report(trial, value, step)
        if trial.number == ended[0]:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "report", kill)
        for _ in range(9):  # until the epoch at which it would have been ended is reported
            with pytest.raises(Killed):
                search(longer, SPACE, tmp_path / "out", strategy="hyperband", trials=12)
            if len(rows_of_log(tmp_path / "out", ended[0])) == int(rows(tmp_path / "whole")[ended[0]]["epochs"]):
                break
    search(longer, SPACE, tmp_path / "out", strategy="hyperband", trials=12)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


def test_a_name_that_leaves_no_room_for_a_trials_number_is_shortened(recipe: Recipe, tmp_path: Path) -> None:
    long = replace(recipe, name="x" * 200)
    found = search(long, SPACE, tmp_path / "out", strategy="random", trials=2)
    assert found.states["complete"] == 2
    assert len(found.recipe.name) == 200
    assert read_recipe(tmp_path / "out/best.toml").name == found.recipe.name != long.name


SCRIPT = """
import sys
from pathlib import Path
from mien.train.search import Progress, search
from mien.train.search_space import Interval
from mien.train.config import read_recipe

def tell(number, state, *_):
    print(number, flush=True)

search(read_recipe(sys.argv[1]), {"optimiser.learning_rate": Interval(1e-5, 0.1, log=True)}, sys.argv[2],
       strategy="random", trials=6, progress=Progress(on_trial=tell))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_processes_share_a_folder_and_one_that_is_killed_leaves_its_trial_to_the_others(
    make_dataset: MakeDataset, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(train=70, val=28), epochs=3, warmup_epochs=0)
    recipe = replace(recipe, model=ModelConfig("vgg", widths=(2,), depths=(1,), dropout=0.0))
    (tmp_path / "recipe.toml").write_text(dumps(recipe))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.toml"), "out"]
    first, second = (
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    assert first.stdout
    done = [int(first.stdout.readline() or first.communicate()[1])]
    first.kill()
    done += [int(line) for line in first.communicate()[0].split()]
    told, why = second.communicate(timeout=120)
    assert second.returncode == 0, why
    done += [int(line) for line in told.split()]
    table = rows(tmp_path / "out")
    assert len(set(done)) == len(done), "a trial was run twice"
    assert set(range(6)) - set(done) <= {int(row["trial"]) for row in table if row["state"] == "running"}
    last = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert last.returncode == 0, last.stderr
    assert sorted(done + [int(line) for line in last.stdout.split()]) == list(range(6))
    assert [row["state"] for row in rows(tmp_path / "out")] == ["complete"] * 6


def test_what_is_no_study_strategy_or_has_no_end_is_told(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown strategy 'luck'; expected one of grid, random, hyperband, bayesian"):
        search(recipe, SPACE, tmp_path / "out", strategy="luck", trials=1)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/study.journal").write_bytes(b"not a journal\n" * 3)
    with pytest.raises(InputError, match=r"study\.journal: no study can be kept there"):
        search(recipe, SPACE, tmp_path / "out", strategy="random", trials=1)
    wide: Space = {f"optimiser.{name}": Interval(0, 1) for name in "abcdefghi"}
    with pytest.raises(InputError, match="a grid of 19,683 combinations; expected 10,000 at most"):
        search(recipe, wide, tmp_path / "wide", strategy="grid", trials=1)
    never: Space = {"optimiser.epochs": Choices((1,)), "optimiser.warmup_epochs": Choices((2,))}
    with pytest.raises(InputError, match=r"no trial came to its end; trials\.csv there tells why"):
        search(recipe, never, tmp_path / "never", strategy="random", trials=2)


def test_a_database_can_be_shared(recipe: Recipe, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    trained: list[int] = []
    progress = Progress(on_trial=lambda number, *_: trained.append(number))
    search(recipe, SPACE, tmp_path / "one", strategy="random", trials=2, storage=url, progress=progress)
    search(recipe, SPACE, tmp_path / "two", strategy="random", trials=4, storage=url, progress=progress)
    assert trained == [0, 1, 2, 3]
    assert len(rows(tmp_path / "two")) == 4
    assert not (tmp_path / "two/study.journal").exists()
    with pytest.raises(InputError, match="no study can be kept there"):
        search(recipe, SPACE, tmp_path / "three", strategy="random", trials=1, storage="nosuch://host/db")


def test_pictures_are_drawn_without_a_screen(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=9)
    assert not (tmp_path / "out/importances.png").exists(), "of so few trials it would tell nothing"
    search(recipe, SPACE, tmp_path / "out", strategy="random", trials=10)
    assert (tmp_path / "out/importances.png").stat().st_size > 5000


def test_the_pictures_of_a_search_change_no_other_figures(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    before = dict(mpl.rcParams)
    draw_search(study, tmp_path)
    assert (tmp_path / "history.png").is_file()
    assert dict(mpl.rcParams) == before


def test_a_bayesian_search_looks_at_what_it_has_found_after_five_trials(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(candidate: Recipe, folder: Path, **_: object) -> FitResult:
        worth = 1 - abs(candidate.optimiser.learning_rate - 0.03)
        return FitResult(folder, 1, worth, 1, stopped_early=False)

    monkeypatch.setattr(search_module, "fit", fitted)
    tried = {}
    for strategy in ("random", "bayesian"):
        search(recipe, SPACE, tmp_path / strategy, strategy=strategy, trials=8, device="cpu")
        tried[strategy] = [row["optimiser.learning_rate"] for row in rows(tmp_path / strategy)]
    assert tried["random"][:5] == tried["bayesian"][:5]
    assert tried["random"][5:] != tried["bayesian"][5:]
