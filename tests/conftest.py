"""What many tests share: data that is made here, a tiny model, and the real data where it is at hand."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from mien.classify import spec_key
from mien.data.manifest import Manifest, write
from mien.labels import FER2013, FERPLUS
from mien.spec import CropSpec, ModelSpec

# Two test processes beside each other: each computes on one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples every time, however busy the machine is.
settings.register_profile("suite", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

MakeModel = Callable[..., Path]
MakeDataset = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]
MakeFaceSet = Callable[..., Path]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data; the test is skipped where there is none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    return SHARED


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Return a function that writes a small ONNX file of mien's kind: the left half's and right half's mean decide.

    The logits are linear in those two means, from 0 to 1, with fixed random weights: quick, deterministic, sensitive
    to the pixels and to mirroring.  Each of its answers has weights of its own; `spec` describes the first.
    """

    def make(
        name: str = "tiny.onnx",
        *,
        crop: CropSpec | None = None,
        mirror: bool = False,
        spec: str | None = None,
        answers: tuple[str, ...] = ("fer2013",),
    ) -> Path:
        crop = crop or CropSpec()
        side = crop.size_px
        halves = np.zeros((int(np.prod(crop.shape)), 2), np.float32)
        columns = np.broadcast_to(np.arange(side).reshape((1, side) + (1,) * (len(crop.shape) - 2)), crop.shape).ravel()
        halves[columns < side // 2, 0] = halves[columns >= side // 2, 1] = 2 / halves.shape[0] / 255
        generator = np.random.default_rng(0)
        constants: dict[str, np.ndarray] = {"halves": halves, "flat": np.array([0, -1], np.int64)}
        nodes = [
            helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["floats", "flat"], ["rows"]),
            helper.make_node("MatMul", ["rows", "halves"], ["means"]),
        ]
        described: dict[str, str] = {}
        labels = {answer: FERPLUS if answer == "ferplus" else FER2013 for answer in answers}
        for answer in answers:
            constants[f"{answer}.weights"] = generator.normal(0, 3, (2, len(labels[answer]))).astype(np.float32)
            nodes += [
                helper.make_node("MatMul", ["means", f"{answer}.weights"], [f"{answer}.logits"]),
                helper.make_node("Softmax", [f"{answer}.logits"], [answer], axis=1),
            ]
            full_name = f"tiny-{answer}" if described else "tiny"
            described[answer] = ModelSpec(full_name, labels[answer], crop, 1.0, mirror, "MIT", "0" * 64).dumps()
        if spec is not None:
            described[answers[0]] = spec
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", *crop.shape])],
            [
                helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["batch", len(labels[answer])])
                for answer in answers
            ],
            [numpy_helper.from_array(value, key) for key, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        helper.set_model_props(model, {spec_key(answer): text for answer, text in described.items()})
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Return a function that writes a small prepared dataset whose classes a network can tell apart.

    Each class is a bright bar in a place of its own, over noise; `train`, `val` and `test` are counts of crops, and
    nobody voted on the `silent` ones.
    """

    def make(
        name: str = "dataset",
        *,
        train: int = 70,
        val: int = 28,
        test: int = 28,
        seed: int = 0,
        votes: bool = False,
        silent: slice = slice(0),
    ) -> Path:
        generator = np.random.default_rng(seed)
        count = train + val + test
        label = np.arange(count) % len(FER2013)
        crops = generator.integers(0, 100, (count, 48, 48), np.uint8)
        for crop, where in zip(crops, label, strict=True):
            crop[6 * where + 2 : 6 * where + 7, 8:40] = 230
        counted = None
        if votes:
            counted = np.zeros((count, 10), np.uint8)
            counted[np.arange(count), label] = 8
            counted[np.arange(count), (label + 1) % 7] = 2
            counted[silent] = 0
        manifest = Manifest(
            crop=CropSpec(),
            source=[f"made:{index}" for index in range(count)],
            person=[None] * count,
            label=label.astype(np.int64),
            votes=counted,
            split=np.repeat([0, 1, 2], [train, val, test]).astype(np.int64),
            licence=["MIT"] * count,
            missed=np.zeros(count, np.bool_),
        )
        folder = tmp_path / name
        write(manifest, crops, folder)
        return folder

    return make


@pytest.fixture
def make_faceset(tmp_path: Path) -> MakeFaceSet:
    """Return a function that writes a set of faces: two a picture, whose names hold commas, umlauts and folders.

    people: the pictures are of so many people in turn; None: nobody says of whom they are.  The last face of all is a
    dropped one beside the `faces` that are kept.
    """

    def make(faces: int = 12, *, name: str = "set", people: int | None = None) -> Path:
        import cv2

        from mien.data.faceset import FaceSet, FileRow, FoundFace
        from mien.data.quality import Quality

        generator = np.random.default_rng(0)
        crop = CropSpec()
        made = FaceSet.create(tmp_path / name, crop=crop, settings={"detector": "made"})
        pixels = generator.integers(0, 256, (faces + 1, *crop.shape), np.uint8)
        for picture in range((faces + 2) // 2):
            numbers = [number for number in (2 * picture, 2 * picture + 1) if number <= faces]
            found = []
            for number in numbers:
                dropped = number == faces
                view_rgb = cv2.resize(np.repeat(pixels[number, ..., None], 3, axis=2), (96, 96))
                jpeg = cv2.imencode(".jpg", view_rgb[..., ::-1])[1].tobytes()
                box = (10.0 + number, 20.0, 58.0 + number, 68.0)
                quality = Quality(sharpness=0.5, exposure=0.5, size_px=48.0, inside=1.0, frontal=0.9, visible=1.0)
                found.append(
                    FoundFace(
                        key=f"{number:016x}", time_s=None, box_xyxy=box, score=1.0, quality=quality,
                        reason="sharpness" if dropped else "", crop=pixels[number].tobytes(),
                        view=b"" if dropped else jpeg,
                    )
                )  # fmt: skip
            file = f"Müller, Ann/picture {picture}, grün.jpg"
            made.add(
                FileRow(
                    file, tmp_path / "sources" / file, stamp=f"made {picture}", licence="MIT", pictures=1,
                    faces=len(found), person=None if people is None else f"person {picture % people}",
                ),
                found,
            )  # fmt: skip
        made.mark_copies([])  # as a build does at its end
        return made.folder

    return make


@pytest.fixture(scope="session")
def portrait() -> Path:
    """Return a photograph of one frontal face that the repository holds."""
    return ROOT / "examples" / "astronaut.jpg"


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> MakeCheckpoint:
    """Return a function that writes a best.pt of a small network of the zoo, weights drawn, nothing trained."""

    def make(name: str, *, labels: str = "label") -> Path:
        import torch  # here, so that tests which need no torch do not wait for it

        from mien.train import checkpoint
        from mien.train.answers import count_logits, make_answers
        from mien.train.config import DataConfig, ModelConfig, Recipe
        from mien.train.models.registry import build

        widths, depths = ((), ()) if name == "paper-cnn" else ((4, 8), (2, 2) if name == "vgg" else (1, 1))
        recipe = Recipe(
            "made",
            data=DataConfig(labels=labels),
            model=ModelConfig(name, dropout=0.0, batch_norm=True, widths=widths, depths=depths),
        )
        crop = CropSpec(normalisation="per_crop")
        torch.manual_seed(0)
        network = build(recipe.model, labels=count_logits(recipe), crop=crop)
        prior = torch.full((7,), 1 / 7)
        specs = {
            key: ModelSpec(f"made-{key}", answer.labels, crop, 1.0, True, "MIT", "0" * 64).dumps()
            for key, answer in make_answers(recipe, prior, {}).items()
        }
        content = {
            "recipe": dataclasses.asdict(recipe), "specs": specs, "prior": prior.tolist(),
            "weights": network.state_dict(),
        }  # fmt: skip
        path = tmp_path / f"{name}.pt"
        checkpoint.save(path, content)
        return path

    return make
