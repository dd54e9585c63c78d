"""Execute the tutorials anew and write them as they are committed: with outputs, without what varies.

    python notebooks/refresh.py                     # all of them
    python notebooks/refresh.py quickstart council  # these
    python notebooks/refresh.py --check             # write nothing; say which outputs are out of date

Needs `pip install -e '.[dev]'`, no key and no network: the models are those of the fake server.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from composite_lab.testing.server import URL_VARIABLE, FakeServer

FOLDER = Path(__file__).parent
CELL_TIMEOUT_S = 120
TIMING = "timing"
"""The tag of a cell whose output holds measured times: its numbers may change, its words may not."""
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NOT_FOR_KERNELS = ("MPLBACKEND", "COMPOSITE_LAB_TUTORIAL_REAL", "COMPOSITE_LAB_PROFILES")
"""Variables that would make an output depend on whose machine it is."""
PORT, NO_PORT = re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"

Notebook = Any  # nbformat's NotebookNode, a dict whose keys are attributes
Substitution = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def notebooks() -> list[Path]:
    """The tutorials, in the order of their names."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Notebook:
    """The notebook in that file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def executed(path: Path) -> Notebook:
    """The notebook with the outputs of a new kernel, in committed form.

    Its models are those of the server at COMPOSITE_LAB_FAKE_URL. Raises nbclient's CellExecutionError
    for a cell that fails, unless it is tagged `raises-exception`.
    """
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name=METADATA["kernelspec"]["name"],
        resources={"metadata": {"path": str(FOLDER)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    client.execute(env={name: value for name, value in os.environ.items() if name not in NOT_FOR_KERNELS})
    return committed_form(notebook)


def committed_form(notebook: Notebook) -> Notebook:
    """The notebook without widgets and without metadata of the machine that it ran on. Changed in place."""
    notebook.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _presentable(output)) is not None]
    return notebook


def differences(committed: Notebook, fresh: Notebook) -> Iterator[str]:
    """A diff for each cell whose new output says something else than the committed one.

    Pictures are compared by being there; ids, addresses, ports and times not at all; in cells tagged
    `timing` no number is.
    """
    for place, (old, new) in enumerate(zip(committed.cells, fresh.cells, strict=True)):
        if old.cell_type != "code":
            continue
        before, after = (list(_comparable(cell)) for cell in (old, new))
        if before != after:
            diff = difflib.unified_diff(before, after, "committed", "executed anew", lineterm="", n=1)
            first_line = old.source.partition("\n")[0]
            yield "\n".join([f"cell {place} ({old.id}: {first_line})", *diff])


def main(arguments: Sequence[str]) -> int:
    """Refresh or check the notebooks named; 1 if a check found differences, else 0."""
    parser = argparse.ArgumentParser(
        description="Execute the tutorials and write them as they are committed."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks; all if none is given")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    options = parser.parse_args(arguments)
    stale = 0
    for path in _chosen(options.names, parser):
        with FakeServer.start() as server:
            os.environ[URL_VARIABLE] = server.base_url
            fresh = executed(path)
        if options.check:
            found = list(differences(read(path), fresh))
            stale += bool(found)
            _say(path.name, "out of date" if found else "up to date", *found)
        else:
            nbformat.write(fresh, path)  # type: ignore[no-untyped-call]
            _say(path.name, "written")
    return min(stale, 1)


def _chosen(names: Sequence[str], parser: argparse.ArgumentParser) -> list[Path]:
    known = {path.stem: path for path in notebooks()}
    stems = [Path(name).stem for name in names]
    if unknown := [stem for stem in stems if stem not in known]:
        parser.error(f"there is no notebook {unknown[0]!r}; there are {', '.join(known)}")
    return [known[stem] for stem in stems] or list(known.values())


def _presentable(output: Notebook) -> Notebook | None:
    """The output without its widget, whose stored view hides the page beside it; None if nothing is left."""
    if output.output_type == "stream":
        output.text = PORT.sub(NO_PORT, output.text)
        return output
    if "data" not in output:
        return output
    had_widget = output.data.pop(WIDGET, None) is not None
    output.metadata.pop(WIDGET, None)
    for kind, shown in output.data.items():
        if kind.startswith("text/"):
            output.data[kind] = PORT.sub(NO_PORT, shown)
    only_its_name = set(output.data) <= {"text/plain"}
    return None if had_widget and only_its_name else output


def _comparable(cell: Notebook) -> Iterator[str]:
    """The cell's outputs as lines of text without what varies from run to run."""
    timed = TIMING in cell.metadata.get("tags", [])
    for output in cell.outputs:
        if output.output_type == "stream":
            shown = {f"({output.name})": output.text}
        elif output.output_type == "error":
            shown = {"(error)": f"{output.ename}: {output.evalue}"}
        else:
            shown = {f"({output.output_type}, {kind})": text for kind, text in sorted(output.data.items())}
        for kind, text in shown.items():
            yield kind
            if "image/" not in kind:
                yield from _steady(str(text), timed=timed).splitlines()


def _steady(text: str, *, timed: bool) -> str:
    for pattern, replacement in VARYING + (MEASURED if timed else []):
        text = pattern.sub(replacement, text)
    return text


def _zeros(found: re.Match[str]) -> str:
    return re.sub(r"[\d.]+", "0", found[0])


VARYING: list[Substitution] = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "HEX"),  # how a UUID begins
    (re.compile(r"\b0x[0-9a-f]+\b"), "ADDRESS"),
    (PORT, NO_PORT),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z|\+00:00)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "T s"),
    (re.compile(r"\b\d+\.\d+ times\b"), "N times"),
    # Of the pages of a run: where a bar stands and how long it is, which proposer happened to be the slowest,
    # and the start and the duration at the end of a row.
    (re.compile(r'(?<= style=")[^"]*'), _zeros),
    (re.compile(r"◆ (?!critical path)| cl-critical"), ""),
    (re.compile(r"<td>\d+\.\d+</td><td>\d+\.\d+</td></tr>"), "<td>T</td><td>T</td></tr>"),
    (re.compile(r"(?<=>)(?=<)"), "\n"),  # a page is one line otherwise, and no diff of it readable
]
MEASURED: list[Substitution] = [(re.compile(r"\d+(\.\d+)?"), "0"), (re.compile(r"[ \t-]+"), " ")]


def _say(*lines: str) -> None:
    sys.stdout.write(" ".join(lines[:2]) + "\n" + "".join(f"{line}\n" for line in lines[2:]))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
