"""The built wheel holds all that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent


def test_the_demo_runs_from_a_built_wheel_far_from_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(unpacked)
    assert "composite_lab/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    # -P and the path let the unpacked wheel stand before the checkout that is installed here.
    where = "import composite_lab; print(composite_lab.__file__)"
    environment = os.environ | {"PYTHONPATH": str(unpacked), "COLUMNS": "120"}
    for code, says in (
        (where, str(unpacked)),
        ("from composite_lab.cli import main; main()", "council ok: 7 calls"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, "demo"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert says in done.stdout
