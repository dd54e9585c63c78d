"""A JupyterLab server with a home of its own, so that no setting of the user is read or changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import nbformat

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def new_notebook(*cells: str) -> nbformat.NotebookNode:
    """A notebook of these code cells that names its kernel, so that nobody is asked for one."""
    code = [nbformat.v4.new_code_cell(dedent(cell).strip()) for cell in cells]
    return nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": KERNEL})


class LabServer:
    """A running JupyterLab: `with LabServer(folder) as server:` stops it and its kernels at the end.

    `folder` becomes its home; `notebooks` in it is what JupyterLab shows. `environment` is added to
    the environment of the server and so of its kernels.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self._runtime = folder / "runtime"
        self._log = folder / "server.log"
        self.url = self.token = ""
        self._process = self._spawn(folder, environment or {})

    def __enter__(self) -> LabServer:
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # its kernels see that their parent is gone
            self._process.kill()
            self._process.wait()

    def address(self, notebook: str) -> str:
        """The URL that opens a notebook alone on the page, as it lies on disk."""
        return f"{self.url}doc/tree/{notebook}?token={self.token}&reset"

    def _spawn(self, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        settings = folder / "settings"
        for name, values in SETTINGS.items():
            file = settings / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(values))
        own = {
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTER_RUNTIME_DIR": self._runtime,
            "JUPYTERLAB_SETTINGS_DIR": settings,
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
            "IPYTHONDIR": folder / "ipython",
        }
        options = [
            "--no-browser",
            "--allow-root",
            "--expose-app-in-browser",
            "--LabApp.extension_manager=readonly",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={self.notebooks}",
        ]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options],
                env={**os.environ, **{name: str(path) for name, path in own.items()}, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the tests, which stop the server
            )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")
                raise RuntimeError(f"JupyterLab did not start within {START_TIMEOUT_S:g} s. It wrote: {log}")
            time.sleep(POLL_S)

    def _is_up(self) -> bool:
        try:
            (file,) = self._runtime.glob("jpserver-*.json")
            facts = json.loads(file.read_text())
            with urllib.request.urlopen(f"{facts['url']}api/status?token={facts['token']}", timeout=10):
                self.url, self.token = facts["url"], facts["token"]
                return True
        except (ValueError, urllib.error.URLError):  # no file yet, half a file, or nobody behind it
            return False
