"""`composite-lab compare`: strategies on the same prompts, as a YAML file describes them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.text import Text

from composite_lab.commands import tables
from composite_lab.commands.console import err, fail, json_text, out, write
from composite_lab.commands.spreadsheet import GuardFormulas, csv_of
from composite_lab.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from composite_lab.batch.comparison import Comparison
    from composite_lab.batch.estimate import Forecast

FAILED, UNDONE, INTERRUPTED = 3, 4, 130
"""Exit codes: runs failed; runs or scores were left because the money was spent; Ctrl-C."""
FRAME_FORMS = (".parquet", ".csv", ".jsonl")
CALLS_FORMS = (".parquet", ".csv")
SPENT = "BudgetExceeded"


def compare(
    file: Annotated[Path, typer.Argument(help="A YAML file of an experiment; see the README.")],
    estimate: Annotated[bool, typer.Option("--estimate", help="Print what it would cost, and end.")] = False,
    store: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep every answer here.")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(min=0, help="USD that all answers may cost together.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="How often each prompt is asked.")] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The frame, as .parquet, .csv or .jsonl.")
    ] = None,
    calls: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All calls, as .parquet or .csv.")
    ] = None,
    guard_formulas: GuardFormulas = True,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Compare strategies on the same prompts, as a YAML file says.

    Ends with 0 when all runs have an answer, 3 when some failed, 4 when the money was spent before the
    end, 2 for a mistake in the file or the options, 130 after Ctrl-C.
    """
    from composite_lab.batch import compare as batch
    from composite_lab.batch.experiment_file import read_experiment

    instead = {"store": store and str(store), "max_cost_usd": max_cost_usd, "repeats": repeats}
    try:
        _check_output("--out", out_, FRAME_FORMS)
        _check_output("--calls", calls, CALLS_FORMS)
        options = read_experiment(
            file, **{name: value for name, value in instead.items() if value is not None}
        )
        if estimate:
            _show_forecast(batch.estimate(**options), json_)
            return
    except (ConfigError, StoreError) as error:
        fail(error, code=2)
    try:
        comparison = batch.compare(**options, progress=not quiet and sys.stderr.isatty())
        _show(comparison, json_)
        _write(comparison, out_, calls, guard=guard_formulas)
    except KeyboardInterrupt:
        _interrupted(file, options)
    except ConfigError as error:
        fail(error, code=2)
    except Exception as error:
        fail(error, code=1)
    raise typer.Exit(_ending(comparison, has_store=options["store"] is not None))


def _check_output(option: str, path: Path | None, forms: tuple[str, ...]) -> None:
    if path is None:
        return
    if path.suffix not in forms:
        raise ConfigError(f"{option} {path}: the name must end in {' or '.join(forms)}")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{option} {path}: writing Parquet needs pyarrow: pip install pyarrow")


def _show_forecast(forecast: Forecast, json_: bool) -> None:
    if json_:
        totals = {"calls": forecast.calls, "cost_usd": forecast.cost_usd, "assumption": forecast.assumption}
        _print_json(totals | {"strategies": _records(forecast.frame)})
        return
    out.print(tables.forecast(_records(forecast.frame)))
    cost = "unknown" if forecast.cost_usd is None else f"{forecast.cost_usd:.6f} USD"
    out.print(f"{forecast.calls} calls to be paid for, cost {cost}; {forecast.assumption}")


def _show(comparison: Comparison, json_: bool) -> None:
    summary = _records(comparison.summary())
    scored = comparison.scorer is not None
    differences = _records(comparison.differences()) if scored else []
    if json_:
        paid = {"paid_usd": comparison.paid_usd, "calls_paid": comparison.calls_paid}
        _print_json({"summary": summary, "differences": differences, **paid})
        return
    out.print(tables.summary(summary, scored=scored))
    if differences:
        out.print(
            tables.differences(differences, comparison.baseline), *tables.verdicts(differences), sep="\n"
        )
    out.print(f"{comparison.calls_paid} calls paid for now, {comparison.paid_usd:.6f} USD")


def _write(comparison: Comparison, frame_file: Path | None, calls_file: Path | None, *, guard: bool) -> None:
    if frame_file is not None and frame_file.suffix == ".parquet":
        comparison.to_parquet(frame_file)
    elif frame_file is not None:
        _write_frame(comparison.to_dataframe(), frame_file, guard)
    if calls_file is not None:
        _write_frame(comparison.calls_df(), calls_file, guard)


def _write_frame(frame: pd.DataFrame, file: Path, guard: bool) -> None:
    match file.suffix:
        case ".parquet":
            frame.to_parquet(file, index=False)
        case ".csv":
            file.write_text(csv_of(frame, guard=guard), encoding="utf-8", newline="")
        case _:
            frame.to_json(file, orient="records", lines=True, force_ascii=False)


def _ending(comparison: Comparison, *, has_store: bool) -> int:
    """The exit code, having said on standard error what is missing and what to do about it."""
    frame = comparison.to_dataframe()
    failed = frame[frame["status"] == "error"]
    undone = int((frame["status"] == "undone").sum())
    unjudged = int(frame["score_note"].str.startswith(SPENT).sum())
    again = "the same command" if has_store else "the command, with --store,"
    if len(failed):
        kinds = ", ".join(f"{kind} {count}" for kind, count in failed["error_type"].value_counts().items())
        _warn(f"{len(failed)} of {len(frame)} runs failed ({kinds}): {again} tries them again")
    if undone or unjudged:
        scores = f" and {unjudged} scores" if unjudged else ""
        kept = (
            "goes on" if has_store else "begins anew, because there is no store; with --store it would go on"
        )
        _warn(
            f"{undone} of {len(frame)} runs{scores} were left undone, because max_cost_usd is spent: "
            f"the same command with a higher --max-cost-usd {kept}"
        )
        return UNDONE
    return FAILED if len(failed) else 0


def _interrupted(file: Path, options: dict[str, Any]) -> NoReturn:
    if options["store"] is not None:
        told = f"everything paid for is in the store {options['store'].path}, and the same command goes on"
    else:
        told = f"without a store nothing is kept: give `store:` in {file}, or --store"
    _warn(f"Interrupted: {told}")
    raise typer.Exit(INTERRUPTED)


def _warn(sentence: str) -> None:
    err.print(Text(sentence, style="yellow"), soft_wrap=True)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts, None for what is not known."""
    plain = frame.astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in plain.where(frame.notna(), None).to_dict("records")
    ]


def _print_json(content: dict[str, Any]) -> None:
    write(json_text(content) + "\n")
