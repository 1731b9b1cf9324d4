"""`mien explain`: what a model looks at in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import out, plural
from mien.errors import InputError
from mien.faces.detect import DETECTORS
from mien.files import printable
from mien.media import SOFTWARE, mark, software_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mien.explain.grad_cam import GradCam

__all__ = ["explain"]


def explain(
    model: Annotated[str, typer.Argument(help="A shipped model's name, an ONNX file, or a best.pt of `mien train`.")],
    picture: Annotated[Path, typer.Argument(help="A picture with a face.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="The folder that the figures go to; left out: .runs/explain/PICTURE.")
    ] = None,
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
    label: Annotated[str, typer.Option(help="What is asked for reasons; left out: the likeliest.")] = "",
    face: Annotated[int, typer.Option(min=0, help="Which face, counted from 0, the largest first.")] = 0,
    detector: Annotated[str, typer.Option(help=f"What finds the face: {DETECTORS}.")] = "dlib",
) -> None:
    """Show what a model makes of a face: its feature maps, and which parts of the face its answer hangs on.

    Example: mien explain paper-cnn examples/astronaut.jpg --out explained/

    Of every model, occlusion.png: how much probability is lost where a part of the face is hidden.  Of ONNX files
    layer-NN.png, all maps of each convolution, and fused.png, their means.  Of checkpoints grad-cam.png.
    """
    from mien.classify import Classifier
    from mien.explain.feature_maps import feature_maps
    from mien.explain.figures import draw_fused, draw_heat, draw_layer
    from mien.explain.occlusion import occlusion
    from mien.faces.detect import make_detector
    from mien.files import atomic_folder, check_folder
    from mien.media import read_image
    from mien.preprocess import preprocess

    folder = out_dir or Path(".runs/explain") / picture.stem
    check_folder(folder)
    cam = _open_checkpoint(model, answer) if model.endswith(".pt") else None
    asked = cam or Classifier.load(model, answer=answer)
    labels = asked.spec.labels
    if label and label not in labels:
        raise InputError(f"unknown label {label!r}; the model knows {', '.join(labels)}")
    image_rgb = read_image(picture)
    faces = make_detector(detector)(image_rgb)
    if not faces:
        raise InputError(f"{picture}: no face found; --detector none takes the whole picture as one")
    if face >= len(faces):
        found = f"{len(faces)} {plural(len(faces), 'face')}"
        raise InputError(f"{picture}: {found} found, and face {face} was asked for, counted from 0")
    (crop,) = preprocess(image_rgb, [faces[face]], asked.spec.crop)
    probabilities = asked.predict(crop[None])[0]
    shares = dict(zip(labels, probabilities.tolist(), strict=True))
    column = labels.index(label) if label else int(probabilities.argmax())
    figures: dict[str, Figure] = {}
    figures["occlusion.png"] = draw_heat(
        crop, occlusion(asked.predict, crop, column),
        title=f"what {labels[column]} hangs on", unit="probability lost when hidden", shares=shares,
    )  # fmt: skip
    if cam:
        figures["grad-cam.png"] = draw_heat(
            crop, cam.heat(crop, column),
            title=f"what speaks for {labels[column]} (Grad-CAM)", unit="of the largest", shares=shares,
        )  # fmt: skip
    else:
        layers = feature_maps(model, crop)
        figures |= {f"layer-{layer.number:02}.png": draw_layer(layer) for layer in layers}
        if layers:
            figures["fused.png"] = draw_fused(crop, layers)
    with atomic_folder(folder) as written:
        for name, figure in figures.items():
            figure.savefig(written / name, dpi=120, pil_kwargs={"exif": mark()})
    for old in {*folder.glob("layer-[0-9][0-9].png"), *(folder / name for name in ("fused.png", "grad-cam.png"))}:
        if old.name not in figures and old.is_file() and software_of(old) == SOFTWARE:  # of another model
            old.unlink()
    told = f"{labels[column]} {shares[labels[column]]:.1%}; {len(figures)} figures in {printable(folder)}"
    out.print(told, markup=False, soft_wrap=True)


def _open_checkpoint(path: str, answer: str) -> GradCam:
    """Return a checkpoint's network."""
    from mien.explain.grad_cam import GradCam  # with torch, which ONNX files do not need

    return GradCam(path, answer=answer)
