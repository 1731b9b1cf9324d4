"""What the tests of pages in a real browser share."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run",
             "--disable-component-update"]  # fmt: skip
SMALL_PHONE = {"width": 360, "height": 640}
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; apt-get install chromium")


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Yield the system's Chromium, without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        yield started
        started.close()


@contextmanager
def served_here(config: uvicorn.Config, *, force: bool = False) -> Iterator[str]:
    """Yield the address at which uvicorn serves, from within this process; force: nobody is waited for at the end."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit, server.force_exit = True, force
        thread.join()


def take_picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """Keep a picture of the page where one asks for it: MIEN_PAGE_SHOTS=FOLDER."""
    if folder := os.environ.get("MIEN_PAGE_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=full_page)
