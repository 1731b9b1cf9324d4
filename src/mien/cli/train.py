"""`mien train`: recipes to trained, exported networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import err, out, progress_bar
from mien.cli.recipes import DataOption, SettingsOption, with_data
from mien.errors import InputError, MienError

if TYPE_CHECKING:
    import torch

    from mien.train.config import Recipe

__all__ = ["train"]


def train(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="TOML files; several are run in a row.")],
    data: DataOption = None,
    settings: SettingsOption = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Instead of the recipe's; repeated, each seed is a run.")
    ] = None,
    out_dir: Annotated[Path, typer.Option("--out", help="Where each run gets a folder of its recipe's name.")] = Path(
        ".runs"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with runs from their last whole epoch.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train the networks of recipes, and export each as an ONNX file.

    Example: mien train recipes/paper-as-written.toml --data data/fer2013

    A run's folder holds recipe.toml (every setting), log.csv and curves.png, last.pt (to go on from), best.pt (the
    epoch with the best validation accuracy) and model.onnx.  Killed at any moment, `--resume` goes on from the last
    whole epoch and ends with the same weights; of several recipes it leaves finished ones as they are.  Where one of
    several fails, the others are trained, and the exit code is 1.  A run with --set or --seed has these in its name:
    `mien train recipes/paper-as-written.toml --set augment.mixup=0.2 --seed 1 --seed 2` makes two.
    """
    from mien.train.config import read_recipe, with_settings
    from mien.train.devices import describe, find_device, find_precision

    changed = [with_settings(read_recipe(path), settings or ()) for path in recipes]
    wanted = [with_settings(recipe, [f"seed={seed}"]) for recipe in changed for seed in seeds or ()] or changed
    names = [recipe.name for recipe in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two recipes are named {twice[0]!r} and would share a folder; rename one")
    where = find_device(device)
    wanted = [with_data(recipe, data) for recipe in wanted]
    _check(wanted, out_dir, where, resume=resume)
    err.print(f"computing on {describe(where)} in {str(find_precision(where)).removeprefix('torch.')}", markup=False)
    failed = []
    for recipe in wanted:
        try:
            _run(recipe, out_dir / recipe.name, resume=resume, device=device)
        except MienError as error:
            if len(wanted) == 1:
                raise
            failed.append(recipe.name)
            err.print(f"{recipe.name}: not trained: {error}", markup=False)
    if failed:
        err.print(f"{len(failed)} of {len(wanted)} not trained: {', '.join(failed)}", markup=False)
        raise typer.Exit(1)


def _check(recipes: list[Recipe], out_dir: Path, device: torch.device, *, resume: bool) -> None:
    """Raise InputError, now and not hours later, where a folder holds a run or one of several could not be trained.

    What a recipe learns or starts from may be what an earlier one makes.
    """
    from mien.train.ready import check
    from mien.train.run_folder import refuse_run

    made: set[Path] = set()
    checked: list[Recipe] = []
    for recipe in recipes:
        folder = out_dir / recipe.name
        if not resume:
            refuse_run(folder)
        # A run that goes on, or has ended, looks at its own files.
        is_new = len(recipes) > 1 and not (folder / "last.pt").is_file()
        if is_new and (same := replace(recipe, name="any", seed=0)) not in checked:
            check(recipe, device, to_come=made)
            checked.append(same)
        made |= {(folder / file).resolve() for file in ("model.onnx", "best.pt")}


def _run(recipe: Recipe, folder: Path, *, resume: bool, device: str) -> None:
    """Train one recipe into a folder, export the result and say how it went."""
    from mien.train.export import export
    from mien.train.fit import fit

    epochs, size = recipe.optimiser.epochs, recipe.optimiser.batch_size
    with progress_bar(recipe.name, unit="images") as advance:

        def on_batch(epoch: int, done: int, steps: int) -> None:
            text = f"{recipe.name}, epoch {epoch}/{epochs}"
            advance(((epoch - 1) * steps + done) * size, epochs * steps * size, text)

        def on_epoch(row: dict[str, float]) -> None:
            err.print(
                f"{recipe.name}, epoch {row['epoch']:g}/{epochs}: loss {row['train_loss']:.4f}, validation loss "
                f"{row['val_loss']:.4f}, accuracy {100 * row['val_accuracy']:.2f}%, {row['images_per_s']:.0f} images/s",
                markup=False,
            )

        try:
            result = fit(recipe, folder, resume=resume, device=device, on_batch=on_batch, on_epoch=on_epoch)
        except KeyboardInterrupt:
            err.print(f"stopped; `--resume` goes on from the last whole epoch in {folder}", markup=False)
            raise typer.Exit(130) from None
    model = folder / "model.onnx"
    if not model.is_file() or model.stat().st_mtime_ns < (folder / "best.pt").stat().st_mtime_ns:
        export(folder / "best.pt", model)
    ended = ", stopped early" if result.stopped_early else ""
    out.print(
        f"{recipe.name}: {100 * result.val_accuracy:.2f}% on validation in epoch {result.best_epoch} of "
        f"{result.epochs}{ended}; {model}",
        markup=False,
    )
