"""`mien search`: which settings of a recipe are best, by validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.console import err, out, progress_bar
from mien.cli.recipes import DataOption, SettingsOption, with_data
from mien.errors import InputError

__all__ = ["search"]


def search(
    recipe_path: Annotated[Path, typer.Argument(metavar="RECIPE", help=r"A TOML file with a \[search] section.")],
    strategy: Annotated[str, typer.Option(help="grid, random, hyperband or bayesian.")] = "bayesian",
    trials: Annotated[int, typer.Option(min=1, help="How many there shall be in all, earlier ones counted.")] = 20,
    data: DataOption = None,
    settings: SettingsOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="The search's folder; left out: .runs/search/NAME STRATEGY.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="A database's URL, or a journal file, that is shared; left out: a file in the folder.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    r"""Search the settings that a recipe's \[search] section opens, and write the best as a recipe.

    Example: mien search recipes/search.toml --strategy hyperband --trials 30 --data data/fer2013

    The folder gets best.toml, which `mien train` runs, trials.csv, history.png, importances.png and parallel.png.
    Killed at any moment, the same command goes on, in the middle of a trial too; several may work in one folder at
    once.  Trials are judged by their best validation accuracy; the test split is not looked at.
    """
    from mien.train.config import read_recipe, with_settings
    from mien.train.dataset import load
    from mien.train.search import Progress
    from mien.train.search import search as run_search
    from mien.train.search_space import read_space

    recipe = with_data(with_settings(read_recipe(recipe_path), settings or ()), data)
    space = read_space(recipe_path, recipe, load(recipe.data).crop)
    for key in (setting.partition("=")[0].strip() for setting in settings or ()):
        if key in space:
            raise InputError(
                f"--set {key} would be ignored: the recipe's [search] opens it; leave it out here or there"
            )
    folder = out_dir or Path(".runs/search") / f"{recipe.name} {strategy}"
    epochs = recipe.optimiser.epochs
    with progress_bar("searching", unit="epochs", total=trials * epochs) as advance:

        def on_batch(trial: int, epoch: int, done: int, steps: int) -> None:
            if done == steps:
                advance(trial * epochs + epoch, text=f"trial {trial}, epoch {epoch}")

        def on_trial(trial: int, state: str, value: float | None, values: Mapping[str, object]) -> None:
            score = "" if value is None else f" {100 * value:.2f}%"
            chosen = ", ".join(f"{key} {_short(setting)}" for key, setting in values.items())
            err.print(f"trial {trial}: {state}{score}; {chosen}", markup=False)

        try:
            found = run_search(
                recipe, space, folder, strategy=strategy, trials=trials, storage=storage, device=device,
                progress=Progress(on_batch, on_trial),
            )  # fmt: skip
        except KeyboardInterrupt:
            err.print("stopped; the same command goes on from the last whole epoch", markup=False)
            raise typer.Exit(130) from None
    ended = ", ".join(f"{count} {state}" for state, count in found.states.items() if count)
    out.print(
        f"{100 * found.value:.2f}% on validation in trial {found.trial} ({ended}); {folder / 'best.toml'}", markup=False
    )


def _short(setting: object) -> str:
    """Return a setting's value in few characters."""
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)
