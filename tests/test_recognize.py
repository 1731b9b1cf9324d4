"""A picture becomes readings; many pictures give the same as one after the other."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.classify import Classifier
from mien.errors import ImageError, InputError, ModelError
from mien.faces.detect import make_detector
from mien.media import read_image
from mien.preprocess import enhance, preprocess
from mien.recognize import Recognizer, Source
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray, Reading

MakeModel = Callable[..., Path]


class Squares:
    """A detector for tests: a face of 40 pixels at each red pixel, so that a picture says what is found in it."""

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        places = np.argwhere((image_rgb == (255, 0, 0)).all(axis=2))
        return [Face(np.array([x, y, x + 40, y + 40], np.float32), None, 0.9) for y, x in places]


def picture(faces: int, *, seed: int = 0) -> ImageArray:
    """Return a picture in which Squares finds so many faces."""
    image = np.random.default_rng(seed).integers(0, 250, (100, 160, 3), np.uint8)
    image[30, 5 : 5 + 3 * faces : 3] = (255, 0, 0)
    return image


def values(readings: list[Reading]) -> FloatArray:
    return np.array([list(reading.probabilities.values()) for reading in readings], np.float32)


def watched(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[ImageArray]:
    """Return a list that will hold the crops of each call of the classifier."""
    seen: list[ImageArray] = []
    predict = classifier.predict

    def watch(crops: ImageArray) -> FloatArray:
        seen.append(crops)
        return predict(crops)

    monkeypatch.setattr(classifier, "predict", watch)
    return seen


def same(first: list[Reading], second: list[Reading]) -> bool:
    boxes = [[reading.face.box_xyxy.tolist() for reading in readings] for readings in (first, second)]
    return boxes[0] == boxes[1] and np.allclose(values(first), values(second), atol=1e-6)


@pytest.fixture
def recognizer(make_model: MakeModel) -> Recognizer:
    return Recognizer(Squares(), Classifier.load(make_model()))


@pytest.fixture(scope="module")
def shipped() -> Recognizer:
    return Recognizer.load()


def test_a_photograph_is_read_with_what_ships(shipped: Recognizer, portrait: Path) -> None:
    (reading,) = shipped.read(portrait)
    assert reading.expression == "happy"
    assert reading.confidence == max(reading.probabilities.values()) == reading.probabilities["happy"]
    assert sum(reading.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert tuple(reading.probabilities) == shipped.classifier.spec.labels
    assert all(isinstance(value, float) for value in reading.probabilities.values())


def test_a_picture_without_a_face_gives_nothing(shipped: Recognizer, portrait: Path) -> None:
    assert shipped.read(portrait.with_name("chelsea.jpg")) == []
    assert shipped.read(np.full((50, 60, 3), 90, np.uint8)) == []


def test_a_path_bytes_and_an_array_are_read_alike(shipped: Recognizer, portrait: Path) -> None:
    sources: list[Source] = [portrait, str(portrait), portrait.read_bytes(), read_image(portrait)]
    first, *others = shipped.read_many(sources)
    assert len(first) == 1
    assert all(same(first, other) for other in others)


def test_a_turned_photograph_is_read_as_the_upright_one(shipped: Recognizer, portrait: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(read_image(portrait)).transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    assert same(shipped.read(file.getvalue()), shipped.read(portrait))


@pytest.mark.parametrize(
    "crop",
    [
        CropSpec(),
        CropSpec(contrast="equalise"),
        CropSpec(contrast="clahe"),
        CropSpec(colour="rgb"),
        CropSpec(colour="rgb", contrast="clahe", size_px=64, margin=0.3, offset_y=0.1),
    ],
    ids=lambda crop: f"{crop.colour}-{crop.contrast}-{crop.size_px}",
)
def test_a_model_gets_its_crops_as_its_spec_says(
    make_model: MakeModel, crop: CropSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(Squares(), Classifier.load(make_model(crop=crop)))
    seen = watched(recognizer.classifier, monkeypatch)
    image = picture(3)
    readings = recognizer.read(image)
    faces = Squares()(image)
    assert np.array_equal(np.concatenate(seen), preprocess(image, faces, crop))
    plain = CropSpec(crop.size_px, crop.margin, crop.offset_y, crop.colour)
    assert np.array_equal(np.concatenate(seen), enhance(preprocess(image, faces, plain), crop))
    assert np.allclose(values(readings), recognizer.classifier.predict(preprocess(image, faces, crop)), atol=1e-6)


@pytest.mark.parametrize(
    "counts", [[], [0], [1], [0, 3, 0, 0, 1, 7, 0], [40, 40, 40], [0] * 300, [1] * 200, [0, 50] * 5]
)
def test_pictures_read_together_are_read_as_one_by_one(recognizer: Recognizer, counts: list[int]) -> None:
    pictures = [picture(count, seed=number) for number, count in enumerate(counts)]
    together = list(recognizer.read_many(pictures))
    assert [len(readings) for readings in together] == counts
    assert all(same(readings, recognizer.read(image)) for readings, image in zip(together, pictures, strict=True))


def test_how_faces_are_collected_is_not_to_be_seen(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(count, seed=count) for count in (2, 0, 5, 1, 1, 0, 9)]
    expected = list(recognizer.read_many(pictures))
    for batch, held in ((1, 1), (2, 256), (1000, 2), (1000, 1000)):
        monkeypatch.setattr(Recognizer, "BATCH", batch)
        monkeypatch.setattr(Recognizer, "PICTURES_HELD", held)
        read = list(recognizer.read_many(pictures))
        assert all(same(first, second) for first, second in zip(read, expected, strict=True))


def test_the_faces_of_many_pictures_go_through_the_network_together(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(recognizer.classifier, monkeypatch)
    assert sum(len(readings) for readings in recognizer.read_many(picture(1) for _ in range(200))) == 200
    assert [len(crops) for crops in seen] == [64, 64, 64, 8]


def test_pictures_are_taken_one_by_one_and_not_kept(recognizer: Recognizer) -> None:
    taken = 0

    def folder() -> Iterator[ImageArray]:
        nonlocal taken
        for _ in range(2000):
            taken += 1
            yield np.zeros((9, 9, 3), np.uint8)

    read = recognizer.read_many(folder())
    assert taken == 0
    for _ in range(300):
        next(read)
    assert 300 <= taken <= 300 + Recognizer.PICTURES_HELD


def test_a_bad_picture_is_an_error_unless_somebody_takes_it(recognizer: Recognizer) -> None:
    sources: list[Source] = [picture(2), b"no picture", picture(1), "missing.jpg", b""]
    with pytest.raises(ImageError, match="not a picture"):
        list(recognizer.read_many(sources))
    kept = []
    with suppress(ImageError):
        for readings in recognizer.read_many(sources):
            kept.append(len(readings))  # noqa: PERF401 - what came before the error is looked at
    assert kept == [2], "what came before the bad one is not lost"
    taken: list[tuple[Source, ImageError]] = []
    read = list(recognizer.read_many(sources, on_error=lambda source, error: taken.append((source, error))))
    assert [len(readings) for readings in read] == [2, 0, 1, 0, 0]
    assert [source for source, _ in taken] == [b"no picture", "missing.jpg", b""]
    assert "missing.jpg" in str(taken[1][1])
    with pytest.raises(ImageError, match="empty"):
        recognizer.read(b"")


def test_one_picture_is_not_taken_for_many(recognizer: Recognizer, portrait: Path) -> None:
    held = portrait.read_bytes()
    for source in (str(portrait), portrait, held, bytearray(held), memoryview(held), picture(1)):
        with pytest.raises(InputError, match="use read"):
            list(recognizer.read_many(source))  # type: ignore[arg-type]  # what is refused


def test_a_stack_of_pictures_of_one_size_is_many(recognizer: Recognizer) -> None:
    stack = np.stack([picture(1), picture(2), picture(0)])
    assert [len(readings) for readings in recognizer.read_many(stack)] == [1, 2, 0]


def test_the_detector_and_the_smallest_face_are_chosen_by_name(make_model: MakeModel, portrait: Path) -> None:
    model = make_model()
    (whole,) = Recognizer.load(model, detector="none").read(portrait)
    assert whole.face.framed
    assert whole.face.box_xyxy.tolist() == [0, 0, 512, 512]
    assert Recognizer.load(model, min_face_px=200).read(portrait) == []
    assert len(Recognizer.load(model, min_face_px=50).read(portrait)) == 1


def test_what_cannot_be_loaded_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        Recognizer.load("no-such-model")
    with pytest.raises(InputError, match="unknown detector"):
        Recognizer.load(make_model(), detector="haar")
    with pytest.raises(ModelError):
        Recognizer.load(make_model(), detector=f"yunet:{tmp_path / 'missing.onnx'}")


@pytest.mark.parametrize(("detector", "faces"), [("dlib", 0), ("none", 1)])
def test_pictures_of_odd_sizes_are_read(make_model: MakeModel, detector: str, faces: int) -> None:
    recognizer = Recognizer(make_detector(detector), Classifier.load(make_model()))
    for size in ((1, 1), (3, 10_000), (10_000, 3), (2, 2)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        assert len(recognizer.read(image)) == faces


def test_smiling_people_of_photographs_are_read_as_happy(shipped: Recognizer, shared: Path) -> None:
    scenes = shared / "data" / "scenes"
    for readings in shipped.read_many([scenes / "one-face.jpg", scenes / "one-man-480p.jpg"]):
        assert [reading.expression for reading in readings] == ["happy"]


def test_another_answer_of_a_file_is_read_where_it_is_asked_for(make_model: MakeModel, portrait: Path) -> None:
    model = make_model(answers=("people", "ferplus"))
    main, other = (Recognizer.load(model, answer=answer, detector="none").read(portrait) for answer in ("", "ferplus"))
    assert "contempt" not in main[0].probabilities
    assert "contempt" in other[0].probabilities
