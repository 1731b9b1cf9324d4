"""The options that commands which run recipes share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.train.config import Recipe

__all__ = ["DataOption", "SettingsOption", "with_data"]

DataOption = Annotated[
    list[Path] | None, typer.Option(help="A prepared dataset instead of the recipe's; may be repeated.")
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
]


def with_data(recipe: Recipe, data: list[Path] | None) -> Recipe:
    """Return a recipe on other datasets than its own; itself where none are named."""
    if not data:
        return recipe
    return replace(recipe, data=replace(recipe.data, manifests=tuple(str(folder) for folder in data)))
