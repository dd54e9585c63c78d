"""The tutorials run without an error, and what they show is what is committed."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from composite_lab.testing import FakeServer

ROOT = Path(__file__).parents[2]
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(tmp|home|work|root|Users|usr)/\w|site-packages|[A-Z]:\\\\Users")


def _load(path: Path) -> ModuleType:
    """The module in a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


refresh = _load(ROOT / "notebooks" / "refresh.py")
TUTORIALS: list[Path] = refresh.notebooks()
every_tutorial = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


@every_tutorial
def test_executed_anew_a_tutorial_shows_what_is_committed(path: Path, fake_openai: FakeServer) -> None:
    found = list(refresh.differences(refresh.read(path), refresh.executed(path)))
    assert not found, "\n\n".join(
        [f"{path.name} shows something else than is committed:", *found, mended_by(path)]
    )


@every_tutorial
def test_no_tutorial_is_committed_with_a_widget(path: Path) -> None:
    notebook = refresh.read(path)
    assert "widgets" not in notebook.metadata
    assert not [cell.id for cell, output in outputs(notebook) if refresh.WIDGET in output.get("data", {})]


@every_tutorial
def test_errors_are_shown_only_where_they_are_expected(path: Path) -> None:
    for cell, output in outputs(refresh.read(path)):
        expected = "raises-exception" in cell.metadata.get("tags", [])
        assert expected or output.output_type != "error", f"{path.name}, {cell.id}: {output.evalue}"
        assert output.get("name") != "stderr", f"{path.name}, {cell.id}: {output.text}"


@every_tutorial
def test_a_tutorial_names_no_folder_of_a_machine(path: Path) -> None:
    found = MACHINE_PATH.search(path.read_text(encoding="utf-8"))
    assert found is None, f"{path.name} holds {found and found.group()!r}. {mended_by(path)}"


@every_tutorial
def test_a_tutorial_is_committed_as_refresh_writes_it(path: Path) -> None:
    written = json.loads(path.read_text(encoding="utf-8"))
    assert refresh.read(path) == refresh.committed_form(refresh.read(path)), mended_by(path)
    assert json.dumps(written) == json.dumps(written, sort_keys=True), mended_by(path)
    for cell in refresh.read(path).cells:
        assert cell.cell_type != "code" or cell.execution_count, f"{path.name}, {cell.id} was not executed"


@every_tutorial
def test_every_changed_output_is_noticed(path: Path) -> None:
    committed = refresh.read(path)
    for place, cell in enumerate(committed.cells):
        for number, output in enumerate(cell.get("outputs", [])):
            changed = copy.deepcopy(committed)
            spoil(changed.cells[place].outputs[number])
            [difference] = refresh.differences(committed, changed)
            assert difference.startswith(f"cell {place} ({cell.id}: "), output.output_type
            lost = copy.deepcopy(committed)
            del lost.cells[place].outputs[number]
            assert len(list(refresh.differences(committed, lost))) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<Trace 3fa85f64 moa ok: 0.31 s>", "<Trace 9b1deb4d moa ok: 12.4 s>"),
        ("id 3fa85f64-5717-4562-b3fc-2c963f66afa6", "id 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"),
        ("<function f at 0x7f12ab>", "<function f at 0x55d0ff01>"),
        ("http://127.0.0.1:40123/v1", "http://127.0.0.1:5000/v1"),
        ("2025-01-02T03:04:05.678Z", "2026-11-12 13:14:15+00:00"),
        ("1.2 times faster", "3.0 times faster"),
        ('<i style="left: 1.5%; width: 20%">', '<i style="left: 31%; width: 0.25%">'),
        ("<td>9</td><td>0.01</td><td>1.39</td></tr>", "<td>9</td><td>0.20</td><td>10.1</td></tr>"),
        ('<td>◆ ada</td><i class="bar cl-critical">', '<td>ada</td><i class="bar">'),
    ],
)
def test_what_varies_from_run_to_run_makes_no_difference(before: str, after: str) -> None:
    assert not list(refresh.differences(printing(before), printing(after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("120 tokens", "130 tokens"),
        ("4 calls", "5 calls"),
        ("0.000027 USD", "0.000028 USD"),
        ("<td>40</td>", "<td>84</td>"),
    ],
)
def test_a_number_that_is_not_measured_makes_a_difference(before: str, after: str) -> None:
    assert list(refresh.differences(printing(before), printing(after)))


def test_in_cells_tagged_timing_numbers_may_change_and_words_may_not() -> None:
    committed = printing("council  0.41  1.2", tags=["timing"])
    assert not list(refresh.differences(committed, printing("council 10.4  0.98", tags=["timing"])))
    assert list(refresh.differences(committed, printing("mixture  0.41  1.2", tags=["timing"])))


def test_widgets_ports_and_times_of_execution_are_left_out_and_pages_stay() -> None:
    notebook = printing("at http://127.0.0.1:40123/v1")
    page = {refresh.WIDGET: {"model_id": "1"}, "text/html": "<b>page</b>", "text/plain": "Page()"}
    bare = {refresh.WIDGET: {"model_id": "2"}, "text/plain": "HBox(children=())"}
    notebook.cells[0].outputs += [displayed(page), displayed(bare)]
    notebook.metadata["widgets"] = {"state": {}}
    notebook.cells[0].metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    refresh.committed_form(notebook)
    printed, output = notebook.cells[0].outputs
    assert printed.text == "at http://127.0.0.1:PORT/v1"
    assert set(output.data) == {"text/html", "text/plain"}
    assert notebook.metadata == refresh.METADATA
    assert notebook.cells[0].metadata == {}


def mended_by(path: Path) -> str:
    return f"If that is as it should be: python notebooks/refresh.py {path.stem}"


def outputs(notebook: Any) -> list[tuple[Any, Any]]:
    return [(cell, output) for cell in notebook.cells for output in cell.get("outputs", [])]


def spoil(output: Any) -> None:
    """Change what an output says, or for a picture that it is one."""
    if output.output_type == "stream":
        output.text += "and more"
    elif "image/png" in output.data:
        output.data["image/svg+xml"] = output.data.pop("image/png")
    else:
        output.data["text/plain"] += "and more"


def displayed(bundle: dict[str, Any]) -> Any:
    return refresh.nbformat.v4.new_output("display_data", bundle)


def printing(text: str, tags: list[str] | None = None) -> Any:
    """A notebook of one cell that printed the text."""
    v4 = refresh.nbformat.v4
    cell = v4.new_code_cell("print(…)", id="cell-00", outputs=[v4.new_output("stream", text=text)])
    cell.metadata = refresh.nbformat.from_dict({"tags": tags} if tags else {})
    return v4.new_notebook(cells=[cell])
