"""Measures all cases, or the named ones: `python -m tests.benchmarks [CASE …]`.

Prints a table and exits with 1 when a ratio is above its bound or importing opened a connection.
"""

from __future__ import annotations

import sys

from . import stub
from .cases import CASES, measured
from .imports import connections_of_import
from .pairs import table


def main(names: list[str]) -> int:
    if unknown := set(names) - CASES.keys():
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    found = []
    with stub.running() as url:
        for name in names or CASES:
            found.append(measured(name, url))
            print(f"{name}: {found[-1].ratio:.3f}", file=sys.stderr, flush=True)
    print(table(found))
    opened = connections_of_import()
    print(
        f"importing composite_lab opened {len(opened)} connections{': ' if opened else ''}{'; '.join(opened)}"
    )
    return 0 if all(one.passed for one in found) and not opened else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
