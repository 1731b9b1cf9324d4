"""A run that was killed goes on bit for bit, and never over another run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from mien.errors import InputError, ModelError
from mien.files import write_text
from mien.train import checkpoint, run_folder
from mien.train import fit as fit_module
from mien.train.config import Recipe
from mien.train.curves import Row
from mien.train.fit import fit
from mien.train.run_folder import FILES

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
WeightsOf = Callable[..., str]
LogOf = Callable[[Path], list[dict[str, str]]]


KILLED = """
import os, signal, sys
from mien.train.config import read_recipe
from mien.train.fit import fit

recipe, folder, epoch, batch = sys.argv[1:]

def on_batch(at_epoch, done, steps):
    if (at_epoch, done) == (int(epoch), int(batch)):
        os.kill(os.getpid(), signal.SIGKILL)

fit(read_recipe(recipe), folder, on_batch=on_batch)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, weights_of: WeightsOf, log_of: LogOf
) -> None:
    recipe = make_recipe(make_dataset(train=48, val=14), model="paper-cnn", epochs=2)
    assert min(recipe.model.dropout, recipe.optimiser.average, recipe.augment.rotation_deg) > 0
    whole = fit(recipe, tmp_path / "whole").folder
    for epoch, batch in ((2, 2), (1, 2)):
        killed = tmp_path / f"killed-{epoch}"
        arguments = [str(whole / "recipe.toml"), str(killed), str(epoch), str(batch)]
        assert subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False).returncode == -signal.SIGKILL
        assert (killed / "last.pt").is_file() == (epoch > 1)
        batches: list[tuple[int, int, int]] = []
        fit(recipe, killed, resume=True, on_batch=lambda *at, to=batches: to.append(at))
        assert batches[0] == (epoch, 1, 3), "it begins with the epoch that was broken off"
        for name, part in (("best.pt", "weights"), ("last.pt", "weights"), ("last.pt", "averaged")):
            assert weights_of(killed / name, part) == weights_of(whole / name, part)
        assert log_of(killed) == log_of(whole)
        assert checkpoint.load(killed / "best.pt")["specs"] == checkpoint.load(whole / "best.pt")["specs"]


def draw_quickly(path: Path, rows: list[Row], *, title: str, best: Row | None = None) -> None:
    write_text(path, f"{title} {len(rows)}")


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("writer", ["checkpoint.save", "write_log", "draw_curves", "write_text"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_write_ends_with_the_same_files(
    make_dataset: MakeDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    after: bool,
    make_recipe: MakeRecipe,
    weights_of: WeightsOf,
    log_of: LogOf,
) -> None:
    recipe = make_recipe(make_dataset(), epochs=2)
    monkeypatch.setattr(fit_module, "draw_curves", draw_quickly)
    fit(recipe, tmp_path / "whole")
    home: Any = {"checkpoint.save": checkpoint, "write_text": run_folder}.get(writer, fit_module)
    name = writer.rpartition(".")[2]
    write = getattr(home, name)
    for number in range(1, 7):
        folder, calls = tmp_path / f"killed-{number}", 0

        def dying(*arguments: Any, at: int = number, **settings: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == at and not after:
                raise Killed
            write(*arguments, **settings)
            if calls == at:
                raise Killed

        monkeypatch.setattr(home, name, dying)
        try:
            fit(recipe, folder)
        except Killed:
            monkeypatch.setattr(home, name, write)
            fit(recipe, folder, resume=True)
        else:
            assert number > 1, "nothing was written so"
            return
        monkeypatch.setattr(home, name, write)
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        assert log_of(folder) == log_of(tmp_path / "whole")
        for part in ("weights", "averaged"):
            assert weights_of(folder / "last.pt", part) == weights_of(tmp_path / "whole/last.pt", part)
        assert weights_of(folder / "best.pt") == weights_of(tmp_path / "whole/best.pt")
        assert checkpoint.load(folder / "best.pt")["specs"] == checkpoint.load(tmp_path / "whole/best.pt")["specs"]


@pytest.mark.usefixtures("tiny")
def test_half_written_files_of_a_killed_run_are_removed(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".last.pt.abc123.pt", ".best.pt.abc123.pt", ".curves.png.abc.png", "notes.txt", ".hidden"):
        (folder / name).write_bytes(b"half")
    fit(make_recipe(make_dataset(), epochs=1), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "notes.txt", ".hidden"])


@pytest.mark.usefixtures("tiny")
def test_a_finished_run_is_returned_as_it_is(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset())
    first = fit(recipe, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}

    def never(*_: object) -> None:
        raise AssertionError("it trained again")

    assert fit(recipe, tmp_path / "run", resume=True, on_batch=never) == first
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


@pytest.mark.usefixtures("tiny")
def test_a_folder_that_holds_a_run_is_refused_unless_it_goes_on(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    fit(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"a run is there already; --resume goes on"):
        fit(recipe, tmp_path / "run")
    with pytest.raises(InputError, match="another recipe"):
        fit(make_recipe(Path(recipe.data.manifests[0]), epochs=2), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="another recipe"):
        fit(replace(recipe, seed=1), tmp_path / "run", resume=True)
    other = make_dataset("other", seed=1)
    with pytest.raises(InputError, match="trained on other data"):
        fit(replace(recipe, data=replace(recipe.data, manifests=(str(other),))), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


@pytest.mark.usefixtures("tiny")
def test_two_processes_do_not_train_in_one_folder(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".best.pt.123").write_bytes(b"half")  # what the other one is writing
    busy = pytest.raises(InputError, match="another process is training there")
    with FileLock(tmp_path / "run" / "run.lock"), busy:
        fit(recipe, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.lock", ".best.pt.123"}
    fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / ".best.pt.123").exists()


@pytest.mark.usefixtures("tiny")
def test_a_run_goes_on_where_its_data_has_moved_to(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    folder = make_dataset()
    recipe = make_recipe(folder, epochs=1)
    first = fit(recipe, tmp_path / "run")
    moved = folder.rename(tmp_path / "moved")
    recipe = replace(recipe, data=replace(recipe.data, manifests=(str(moved),)))
    assert fit(recipe, tmp_path / "run", resume=True) == first


@pytest.mark.usefixtures("tiny")
def test_a_run_from_before_a_setting_was_thought_of_goes_on(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    first = fit(recipe, tmp_path / "run")
    content = checkpoint.load(tmp_path / "run/last.pt")
    del content["recipe"]["model"]["kernels"]
    checkpoint.save(tmp_path / "run/last.pt", content)
    assert fit(recipe, tmp_path / "run", resume=True) == first


@pytest.mark.usefixtures("tiny")
def test_a_last_checkpoint_that_is_damaged_or_of_another_kind_is_refused(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    folder = fit(recipe, tmp_path / "run").folder
    whole = (folder / "last.pt").read_bytes()
    content = checkpoint.load(folder / "last.pt")
    for name in ("recipe", "data", "weights", "averaged", "optimiser", "rows"):
        checkpoint.save(folder / "last.pt", {key: value for key, value in content.items() if key != name})
        with pytest.raises(ModelError, match="holds no run to go on with"):
            fit(recipe, folder, resume=True)
    checkpoint.save(folder / "last.pt", {**content, "weights": {"a": torch.zeros(1)}})
    with pytest.raises(ModelError, match="holds no run to go on with") as raised:
        fit(recipe, folder, resume=True)
    assert "\n" not in str(raised.value)
    (folder / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"last\.pt: damaged"):
        fit(recipe, folder, resume=True)
