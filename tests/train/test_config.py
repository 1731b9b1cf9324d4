"""Recipes are read whole or refused with the key that is wrong."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.errors import RecipeError
from mien.spec import CONTRASTS, NORMALISATIONS
from mien.train.config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    OptimiserConfig,
    PeopleConfig,
    Recipe,
    StopConfig,
    TeacherConfig,
    dumps,
    from_fields,
    read_recipe,
    with_settings,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SHARES = st.floats(0, 1, exclude_max=True)
NUMBERS = st.lists(st.integers(1, 10**9), max_size=4).map(tuple)
RECIPES = st.builds(
    Recipe,
    name=st.text(st.characters(categories=["L", "N", "P"], exclude_characters="/\\."), min_size=1, max_size=50),
    licence=TEXTS,
    seed=st.integers(0, 2**32 - 1),
    mirror=st.booleans(),
    data=st.builds(
        DataConfig,
        manifests=st.lists(TEXTS, min_size=1).map(tuple),
        labels=st.sampled_from(["label", "votes", "both"]),
        contrast=st.sampled_from(CONTRASTS),
        normalisation=st.sampled_from(NORMALISATIONS),
        limit=st.integers(0, 10**9),
        val_twins=st.booleans(),
        train_twins=st.booleans(),
    ),
    model=st.builds(
        ModelConfig,
        name=TEXTS,
        dropout=SHARES,
        batch_norm=st.booleans(),
        widths=NUMBERS,
        depths=NUMBERS,
        attention=st.booleans(),
        cosine=st.booleans(),
    ),
    augment=st.builds(AugmentConfig, rotation_deg=st.floats(0, 180), shift=SHARES, zoom=SHARES, flip=st.booleans()),
    optimiser=st.builds(
        OptimiserConfig,
        learning_rate=st.floats(1e-300, 1e300),
        weight_decay=st.floats(0, 1e300),
        sizes_px=st.lists(st.integers(8, 1024), max_size=4).map(tuple),
    ),
    stop=st.builds(StopConfig, patience=st.integers(0, 1000)),
    teacher=st.builds(TeacherConfig, models=st.lists(TEXTS, max_size=3).map(tuple), weight=SHARES),
    people=st.builds(PeopleConfig, fer2013_share=SHARES, logit_adjustment=st.floats(0, 1e300)),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(key: str, value: object) -> Recipe:
    """Return a recipe with one setting changed, named as in an error: table.key, or key."""
    table, _, name = key.rpartition(".")
    recipe = Recipe("x")
    if not table:
        return replace(recipe, **{name: value})  # type: ignore[arg-type]  # of any field
    return replace(recipe, **{table: replace(getattr(recipe, table), **{name: value})})


@given(RECIPES)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_a_recipe_survives_toml(recipe: Recipe) -> None:
    assert from_fields(tomllib.loads(dumps(recipe))) == recipe
    assert from_fields(asdict(recipe)) == recipe  # as a checkpoint stores it


def test_a_name_alone_is_a_recipe_and_its_toml_spells_every_setting_out(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, 'name = "x"'))
    assert recipe == Recipe("x")
    written = tomllib.loads(dumps(recipe))
    assert list(written) == [field.name for field in fields(Recipe)]
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            assert list(written[field.name]) == [inner.name for inner in fields(value)]


def test_the_defaults_are_the_papers() -> None:
    recipe = Recipe("x")
    assert recipe.optimiser.learning_rate == 0.01
    assert recipe.model == ModelConfig("paper-cnn", dropout=0.4, batch_norm=False)


def test_a_whole_number_serves_as_a_number(tmp_path: Path) -> None:
    augment = read_recipe(write(tmp_path, 'name = "x"\n[augment]\nrotation_deg = 7')).augment
    assert augment.rotation_deg == 7
    assert isinstance(augment.rotation_deg, float)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1", "name is missing"),
        ('name = "x"\nspeed = 1', "unknown key speed"),
        ('name = "x"\n[optimiser]\nlearning_rat = 0.1', "unknown key optimiser.learning_rat;.*learning_rate"),
        ('name = "x"\n[optimizer]\nlearning_rate = 0.1', "unknown key optimizer"),
        ("name = 3", "name is 3; expected a text"),
        ('name = "x"\nseed = true', "seed is True; expected a whole number"),
        ('name = "x"\nseed = 1.0', "seed is 1.0; expected a whole number"),
        ('name = "x"\nmirror = 1', "mirror is 1; expected true or false"),
        ('name = "x"\n[augment]\nshift = true', "augment.shift is True; expected a number"),
        ('name = "x"\n[augment]\nshift = "0.1"', "augment.shift is '0.1'; expected a number"),
        ('name = "x"\n[data]\nmanifests = "data"', "data.manifests is 'data'; expected a list of texts"),
        ('name = "x"\n[data]\nmanifests = [1]', r"data.manifests is \[1\]; expected a list of texts"),
        ('name = "x"\n[model]\nwidths = 64', "model.widths is 64; expected a list of whole numbers"),
        ('name = "x"\n[model]\nwidths = [64, "a"]', r"model.widths is \[64, 'a'\]; expected a list of whole numbers"),
        ('name = "x"\n[model]\ndepths = [true]', r"model.depths is \[True\]; expected a list of whole numbers"),
        ('name = "x"\n[optimiser]\nsizes_px = [48.0]', r"sizes_px is \[48.0\]; expected a list of whole numbers"),
        ('name = "x"\n[teacher]\nmodels = [1]', r"teacher.models is \[1\]; expected a list of texts"),
        ('name = "x"\ndata = "data"', r"data is 'data'; expected a table \[data\]"),
        ("name = ", "not TOML"),
        ('name = "x"\nname = "y"', "not TOML"),
        ('name = "x"\nseed = ' + "9" * 5000, "not TOML"),
        ('name = "x"\na = ' + "[" * 5000, "not TOML"),
        ('name = "x"\n[optimiser]\nlearning_rate = 1' + "0" * 400, "learning_rate is 1000"),
        ('name = "x"\n[optimiser]\nlearning_rate = nan', "out of range: optimiser.learning_rate"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=said) as raised:
        read_recipe(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff\xe0\x00")
    with pytest.raises(RecipeError, match="not TOML"):
        read_recipe(tmp_path / "picture.toml")
    for path in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_recipe(path)


OUT_OF_RANGE: list[tuple[str, list[Any]]] = [
    ("name", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\x00b"]),
    ("seed", [-1, 2**32]),
    ("data.manifests", [()]),
    ("data.labels", ["", "emotion"]),
    ("data.contrast", ["more"]),
    ("data.normalisation", ["batch"]),
    ("data.limit", [-1]),
    ("data.balance", ["", "more"]),
    ("data.folds", [-1, 1]),
    ("data.fold", [-1, 1]),
    ("model.dropout", [-0.1, 1.0]),
    ("model.widths", [(0,), (64, -1)]),
    ("model.depths", [(0,), (2, -1)]),
    ("model.kernels", [(0,), (3, -1)]),
    ("model.nodes", [(0,), (64, -1)]),
    ("augment.rotation_deg", [-1.0, 181.0, float("nan")]),
    ("augment.shift", [-0.1, 1.0]),
    ("augment.zoom", [-0.1, 1.0]),
    ("augment.brightness", [-0.1, 1.1]),
    ("augment.contrast", [-0.1, 10.0]),
    ("augment.camera", [-0.1, 1.1]),
    ("augment.erase", [-0.1, 1.1]),
    ("augment.mixup", [-0.1, 0.01, float("inf"), float("nan")]),
    ("optimiser.learning_rate", [0.0, -0.1, float("inf")]),
    ("optimiser.method", ["", "adam"]),
    ("optimiser.schedule", ["", "linear"]),
    ("optimiser.momentum", [-0.1, 1.0]),
    ("optimiser.weight_decay", [-0.1, float("inf")]),
    ("optimiser.batch_size", [0]),
    ("optimiser.epochs", [0]),
    ("optimiser.warmup_epochs", [-1, 41]),
    ("optimiser.label_smoothing", [-0.1, 1.0]),
    ("optimiser.margin", [-0.1, 0.1]),
    ("optimiser.average", [-0.1, 1.0]),
    ("optimiser.clip_norm", [-0.1, float("inf")]),
    ("optimiser.sizes_px", [(7,), (48, 1025)]),
    ("stop.patience", [-1]),
    ("teacher.weight", [-0.1, 1.1]),
    ("teacher.temperature", [0.0, -1.0, float("inf")]),
    ("people.fer2013_share", [-0.1, 1.1]),
    ("people.logit_adjustment", [-0.1, float("inf"), float("nan")]),
]


@pytest.mark.parametrize(("key", "values"), OUT_OF_RANGE, ids=[key for key, _ in OUT_OF_RANGE])
def test_a_setting_out_of_range_is_refused_by_name(key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(RecipeError, match=f"out of range: {key}[;,]"):
            changed(key, value)


def test_every_number_has_a_range() -> None:
    limited = {key for key, _ in OUT_OF_RANGE}
    for table in fields(Recipe):
        value = getattr(Recipe("x"), table.name)
        inner = [(f"{table.name}.{f.name}", f) for f in fields(value)] if is_dataclass(value) else [(table.name, table)]
        assert {key for key, field in inner if field.type in ("int", "float", "tuple[int, ...]")} <= limited


def test_a_list_of_whole_numbers_is_read_in_its_order(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, 'name = "x"\n[model]\nwidths = [64, 32]\n[optimiser]\nsizes_px = []'))
    assert recipe.model.widths == (64, 32)
    assert recipe.optimiser.sizes_px == ()


@pytest.mark.parametrize(("margin", "fits"), [(0.0, True), (1.0, True), (1.1, False)])
def test_a_margin_is_of_a_last_layer_of_directions(margin: float, fits: bool) -> None:
    optimiser, model = OptimiserConfig(margin=margin), ModelConfig("resnet", cosine=True)
    if fits:
        assert Recipe("x", model=model, optimiser=optimiser).optimiser.margin == margin
    else:
        with pytest.raises(RecipeError, match=r"out of range: optimiser\.margin;"):
            Recipe("x", model=model, optimiser=optimiser)


def test_settings_are_changed_as_toml_and_stand_behind_the_name() -> None:
    settings = ["seed=3", "augment.flip=false", "model.widths=[8, 16]", "data.labels=both", "teacher.models=['a/b']"]
    recipe = with_settings(Recipe("x"), settings)
    assert recipe.name == "x seed=3 augment.flip=false model.widths=[8, 16] data.labels=both teacher.models=['a_b']"
    plain = Recipe("x")
    assert recipe == replace(
        plain,
        name=recipe.name,
        seed=3,
        augment=replace(plain.augment, flip=False),
        model=replace(plain.model, widths=(8, 16)),
        data=replace(plain.data, labels="both"),
        teacher=replace(plain.teacher, models=("a/b",)),
    )
    assert with_settings(plain, []) == plain


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("seed", "expected KEY=VALUE"),
        ("speed.limit=3", "unknown key speed.limit"),
        ("seed.x=3", "unknown key seed.x"),
        ("speed=3", "unknown key speed"),
        ("augment.mixdown=3", "unknown key augment.mixdown"),
        ("=3", "unknown key"),
        ("seed=", "seed is ''; expected a whole number"),
        ("seed=many", "seed is 'many'; expected a whole number"),
        ("seed=-1", "out of range: seed"),
        ("seed=" + "9" * 5000, "seed is '999"),
        ("seed=" + "[" * 5000, "seed is "),
        ("augment=3", "augment is 3; expected a table"),
        ("seed=3\nmirror=false", "out of range: name"),
        ("name=other", "expected KEY=VALUE"),
    ],
    ids=lambda text: text[:20],
)
def test_a_setting_that_cannot_be_changed_so_is_refused(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        with_settings(Recipe("x"), [setting])


def test_many_settings_leave_a_name_that_a_folder_can_have_and_no_two_the_same() -> None:
    names = [with_settings(Recipe("x"), ["licence=" + "long " * 50, f"seed={seed}"]).name for seed in (1, 2)]
    assert [len(name.encode()) for name in names] == [200, 200]
    assert names[0] != names[1]
    assert names[0].startswith("x licence=long")
