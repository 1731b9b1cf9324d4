"""`mien serve`: the page and the HTTP service."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated

import typer

from mien.cli.console import err
from mien.cli.serving import DEFAULT_HOST, listen, run, tell_address
from mien.errors import InputError
from mien.faces.detect import DETECTORS
from mien.files import printable
from mien.weights import catalogue

__all__ = ["serve"]

MOST_WORKERS = 4  # unless one asks for more: each takes 459 MB for a picture of 40 megapixels


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; another one than this machine's own asks for a token.")]
    = DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A host name under which a proxy on this machine is reached; asks for a token."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="MIEN_TOKEN", help="What requests must carry; by default one is made where needed."),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = catalogue.DEFAULT,
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
    detector: Annotated[str, typer.Option(help=f"What finds the faces: {DETECTORS}.")] = "dlib",
    min_face: Annotated[float | None, typer.Option(help="Smallest face to look for, in pixels.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, help=f"Threads that find faces; 0: one for each core, {MOST_WORKERS} at most.")
    ] = 0,
    max_mb: Annotated[int, typer.Option(min=1, help="Largest request with pictures, in MiB.")] = 32,
    max_video_mb: Annotated[int, typer.Option(min=1, help="Largest video, in MiB.")] = 500,
    max_at_once: Annotated[int, typer.Option(min=1, help="Requests with pictures at once; others are told to wait.")]
    = 64,
    keep: Annotated[float, typer.Option(min=1, help="Seconds that the results of a video stay.")] = 600,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:  # fmt: skip
    """Serve a page and an HTTP service that read pictures, video and a camera; docs/http.md tells how to use it.

    Example: mien serve --open

    Nothing that is sent is kept: pictures stay in memory until they are answered, videos and what they come to in a
    temporary folder until they are deleted, --keep seconds have passed or the service ends.
    Needs the extra `serve`.
    """
    from mien.classify import Classifier
    from mien.web.access import LOOPBACK_NAMES, check_name, check_token, is_loopback, make_token
    from mien.web.api import create_api, server_config
    from mien.web.limits import Limits
    from mien.web.metrics import Metrics
    from mien.web.pictures import PictureReader

    own = is_loopback(host) and not name
    if name and not is_loopback(host):
        raise InputError(
            f"--name {printable(name[0])}: with --host {printable(host)} every name is served; leave one of the two out"
        )
    for each in name or ():
        check_name(each)
    token = check_token(token) if token is not None else None if own else make_token()
    limits = Limits(
        max_bytes=max_mb * 2**20, max_held_bytes=max(Limits().max_held_bytes, 2 * max_mb * 2**20),
        max_video_bytes=max_video_mb * 2**20, max_at_once=max_at_once, keep_s=keep,
    )  # fmt: skip
    metrics = Metrics()
    reader = PictureReader(
        Classifier.load(model, answer=answer), detector=detector, min_face_px=min_face,
        workers=workers or min(os.cpu_count() or 1, MOST_WORKERS), max_pixels=limits.max_pixels,
        on_batch=metrics.batch_faces.observe,
    )  # fmt: skip
    reader.recognizer()  # what is wrong with a detector is told now
    listening = listen(host, port)
    try:
        app = create_api(
            reader, limits=limits, metrics=metrics, token=token,
            names=LOOPBACK_NAMES | {host.lower()} | set(map(str.lower, name or ())) if is_loopback(host) else None,
        )  # fmt: skip
        err.print("Ctrl-C ends")
        address = tell_address(listening, host, token, own=own, what="the faces")
        if open_browser:
            webbrowser.open(address)
        run(server_config(app, limits), listening)
    finally:
        listening.close()
