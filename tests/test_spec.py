"""What is said of crops and models survives JSON, and what is no such thing is refused in one way."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import InputError
from mien.labels import FER2013
from mien.spec import COLOURS, CONTRASTS, NORMALISATIONS, CropSpec, ModelSpec

CROPS = st.builds(
    CropSpec,
    size_px=st.integers(8, 1024),
    margin=st.floats(-0.4, 3.0),
    offset_y=st.floats(-1.0, 1.0),
    colour=st.sampled_from(COLOURS),
    contrast=st.sampled_from(CONTRASTS),
    normalisation=st.sampled_from(NORMALISATIONS),
)
MODELS = st.builds(
    ModelSpec,
    name=st.text(),
    labels=st.lists(st.text(), min_size=2, unique=True).map(tuple),
    crop=CROPS,
    temperature=st.floats(0, exclude_min=True, allow_infinity=False),
    mirror=st.booleans(),
    licence=st.text(),
    manifest_sha256=st.text(),
)
MODEL = ModelSpec("tiny", FER2013, CropSpec(), 1.0, False, "MIT", "0" * 64)


def changed(**fields: object) -> str:
    """Return the description of a model with some fields changed."""
    return json.dumps({**json.loads(MODEL.dumps()), **fields})


@given(CROPS)
def test_a_crop_spec_survives_json(crop: CropSpec) -> None:
    assert CropSpec.from_json(json.loads(json.dumps(crop.to_json()))) == crop


@given(MODELS)
def test_a_model_spec_survives_json(model: ModelSpec) -> None:
    assert ModelSpec.loads(model.dumps()) == model


def test_the_shape_of_a_crop_follows_size_and_colour() -> None:
    assert CropSpec(size_px=64).shape == (64, 64)
    assert CropSpec(size_px=64, colour="rgb").shape == (64, 64, 3)
    assert (CropSpec().channels, CropSpec(colour="rgb").channels) == (1, 3)


def test_geometry_is_all_that_decides_which_pixels_are_cut() -> None:
    assert CropSpec(contrast="clahe", normalisation="none").geometry == CropSpec().geometry
    for other in (CropSpec(size_px=64), CropSpec(margin=0.3), CropSpec(offset_y=0.3), CropSpec(colour="rgb")):
        assert other.geometry != CropSpec().geometry


@pytest.mark.parametrize(
    "fields",
    [
        {"size_px": 7}, {"size_px": 1025}, {"size_px": -48}, {"margin": -0.5}, {"margin": 3.1}, {"margin": math.nan},
        {"margin": math.inf}, {"offset_y": 1.1}, {"offset_y": math.nan}, {"colour": "gray"}, {"contrast": "CLAHE"},
        {"normalisation": ""},
    ],
)  # fmt: skip
def test_a_field_out_of_range_is_refused_by_name(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(InputError, match=rf"crop .*{name}"):
        CropSpec(**fields)
    with pytest.raises(InputError, match=rf"crop .*{name}"):
        CropSpec.from_json({**CropSpec().to_json(), **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"size_px": "48"}, {"size_px": 48.0}, {"size_px": True}, {"margin": "0.1"}, {"margin": None}, {"margin": True},
        {"colour": 1}, {"colour": None},
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_type_is_refused_by_name(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(InputError, match=rf"CropSpec: {name} is .* of the wrong type"):
        CropSpec.from_json({**CropSpec().to_json(), **fields})


def test_a_missing_and_an_unknown_field_are_refused_by_name() -> None:
    fields = CropSpec().to_json()
    del fields["margin"]
    with pytest.raises(InputError, match="missing or unknown: margin, padding"):
        CropSpec.from_json({**fields, "padding": 2})
    with pytest.raises(InputError, match="ModelSpec: missing or unknown: author"):
        ModelSpec.loads(changed(author="me"))


@pytest.mark.parametrize("fields", [None, [], "48", 48, [["size_px", 48]]])
def test_what_is_no_dictionary_is_no_crop_spec(fields: Any) -> None:
    with pytest.raises(InputError, match="CropSpec: expected its fields by name"):
        CropSpec.from_json(fields)


@pytest.mark.parametrize(
    "labels",
    [None, 7, "angry", [], ["happy"], ["happy", "happy"], ["happy", 3], {"happy": 0, "sad": 1}, [["a"], ["b"]]],
)
def test_a_models_labels_are_two_or_more_different_names(labels: object) -> None:
    with pytest.raises(InputError, match="the model's labels are"):
        ModelSpec.loads(changed(labels=labels))


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_is_a_number_above_zero(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        ModelSpec.loads(changed(temperature=temperature))


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "null", "[]", "{}", '{"crop": 1}', '{"crop": {}}', "[" * 100_000, f'{{"crop": {"9" * 5000}}}'],
)
def test_what_is_no_description_of_a_model_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError):
        ModelSpec.loads(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(MODEL.dumps()))), JSON)
def test_any_value_in_any_field_is_taken_or_refused_as_input(field: str, value: object) -> None:
    try:
        model = ModelSpec.loads(changed(**{field: value}))
    except InputError:
        return
    assert ModelSpec.loads(model.dumps()) == model


@given(st.sampled_from(sorted(CropSpec().to_json())), JSON)
def test_any_value_in_any_field_of_the_crop_is_taken_or_refused_as_input(field: str, value: object) -> None:
    try:
        crop = CropSpec.from_json({**CropSpec().to_json(), field: value})
    except InputError:
        return
    assert crop.to_json()[field] == value
