"""`mien data label`: a page on this machine on which people say what they see in the faces of a set."""

from __future__ import annotations

import functools
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import err, progress_bar, refuse_ignored
from mien.cli.serving import DEFAULT_HOST, listen, run, tell_address
from mien.errors import DataError, ModelError
from mien.files import check_folder

if TYPE_CHECKING:
    from mien.data.annotate import LabelStore
    from mien.data.faceset import FaceSet
    from mien.types import FloatArray
    from mien.web.label import Order

__all__ = ["label"]

CROPS_AT_ONCE = 256


def label(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder that `mien data build` wrote.")],
    annotators: Annotated[list[str], typer.Option("--annotator", help="Who labels; give it once for each person.")],
    host: Annotated[str, typer.Option(help="Where to listen; another one than this machine's own asks for a token.")]
    = DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    token: Annotated[str | None, typer.Option(help="What the address must hold; by default one is made where needed.")]
    = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Faces that a model is least sure of first; what it says is never shown.")
    ] = False,
    model: Annotated[str, typer.Option(help="Of --suggest: a shipped model's name, or an ONNX file.")] = "mien",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:  # fmt: skip
    """Serve a page for labelling faces with keys 1 to 7, one after the other, blind to the model and to other people.

    Example: mien data label faces --annotator anna --annotator ben

    Every answer is on disk the moment that the key is pressed.  Needs the extra `serve`.
    """
    import uvicorn

    from mien.data.annotate import LabelStore, check_annotator
    from mien.data.faceset import FaceSet
    from mien.web.access import LOOPBACK_NAMES, check_token, is_loopback, make_token
    from mien.web.label import create_app

    if not suggest:
        refuse_ignored(context, ("model",), "without --suggest no model is asked")
    names = list(dict.fromkeys(check_annotator(name) for name in annotators))
    if token is not None:
        check_token(token)
    faceset, store = FaceSet(folder), LabelStore(folder)
    faces = len(faceset.faces())
    if not faces:
        raise DataError(f"{folder}: no face of the set is kept, so that there is none to label; see `mien data build`")
    check_folder(folder)
    before = _count(store)
    own = is_loopback(host)
    token = token if own else token or make_token()
    listening = listen(host, port)
    try:
        app = create_app(
            faceset, store, names, order=_order(faceset, model if suggest else None), token=token,
            names=LOOPBACK_NAMES | {host.lower()} if own else None,
        )  # fmt: skip
        config = uvicorn.Config(
            app, access_log=False, log_config=None, log_level="error", lifespan="off", server_header=False,
            proxy_headers=False, ws="none", timeout_graceful_shutdown=3,
        )  # fmt: skip
        err.print(f"{faces:,} faces for {', '.join(names)}; Ctrl-C ends", markup=False)
        address = tell_address(listening, host, token, own=own, what="the faces")
        if open_browser:
            webbrowser.open(address)
        run(config, listening)
    finally:
        listening.close()
    _summarise(store, before, names, faces)


def _order(faceset: FaceSet, model: str | None) -> Order:
    """Return the function that says in which order an annotator sees the faces; model: whose doubts lead, if any."""
    from mien.data.queue import shuffled, unsure_first

    if model is None:
        return shuffled
    keys = [face.key for face in faceset.faces()]
    probabilities = _probabilities(faceset, keys, model)

    @functools.cache  # a page asks at every visit, and the model has spoken once
    def place_of(annotator: str) -> dict[str, int]:
        return {key: index for index, key in enumerate(unsure_first(keys, probabilities, annotator))}

    def order(shown: Sequence[str], annotator: str) -> list[str]:
        place = place_of(annotator)
        return sorted(shuffled(shown, annotator), key=lambda key: place.get(key, len(place)))  # new ones to the end

    return order


def _probabilities(faceset: FaceSet, keys: list[str], model: str) -> FloatArray:
    """Return what a model says of the faces, (N, number of labels); ModelError where it wants other crops."""
    import numpy as np

    from mien.classify import Classifier
    from mien.preprocess import enhance

    classifier = Classifier.load(model)
    wanted, found = classifier.spec.crop, faceset.crop
    if wanted.geometry != found.geometry:
        raise ModelError(f"{model}: reads crops of size, margin, offset and colour {wanted.geometry}; the set has"
                         f" {found.geometry}: build it for this model, or name another --model")  # fmt: skip
    told = []
    with progress_bar("reading faces", unit="faces", total=len(keys)) as advance:
        for start in range(0, len(keys), CROPS_AT_ONCE):
            crops = faceset.crops(keys[start : start + CROPS_AT_ONCE])
            told.append(classifier.predict(enhance(crops, wanted)))
            advance(start + len(crops))
    return np.concatenate(told)


def _count(store: LabelStore) -> Counter[str]:
    """Return how many faces each annotator has answered."""
    return Counter(answer.annotator for answer in store.answers())


def _summarise(store: LabelStore, before: Counter[str], names: list[str], faces: int) -> None:
    """Print how many answers there are by whom, and how many came now."""
    now = _count(store)
    told = "; ".join(f"{name}: {now[name]:,} answers ({now[name] - before[name]:+,})" for name in names)
    err.print(f"{told}; of {faces:,} faces", markup=False)
