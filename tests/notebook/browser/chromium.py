"""The Chromium that is installed here, and how it is started: without a network."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

PATH_VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Only the loopback has a name, so nothing that a page asks for can leave this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class ChromiumMissing(RuntimeError):
    """There is no Chromium to drive; the text says what to install."""


def chromium_path() -> str:
    """The program to start: the one that CHROMIUM names, or the first that is installed.

    Raises:
        ChromiumMissing: There is none.
    """
    given = os.environ.get(PATH_VARIABLE)
    for name in (given,) if given else NAMES:
        if found := shutil.which(name):
            return found
    looked_for = (
        f"{PATH_VARIABLE}={given} is no program" if given else f"none of {', '.join(NAMES)} is installed"
    )
    raise ChromiumMissing(
        f"no Chromium to drive: {looked_for}. Install one (apt-get install chromium), or set the variable "
        f"{PATH_VARIABLE} to the path of another."
    )


def launch(playwright: Playwright) -> Browser:
    """Start the installed Chromium without a window.

    Raises:
        ChromiumMissing: There is none.
    """
    return playwright.chromium.launch(executable_path=chromium_path(), args=OPTIONS)
