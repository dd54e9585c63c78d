"""Estimates: a comparison carried out with made-up answers, to count what the real ones would cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from composite_lab.batch.judging import STAGE, about, asker
from composite_lab.batch.plan import Task
from composite_lab.batch.scoring import PairwiseJudge, Scorer
from composite_lab.batch.store import Store
from composite_lab.errors import CompositeError
from composite_lab.gateway.memory import Remembered, Request, remembering
from composite_lab.gateway.models import count_tokens, price_of
from composite_lab.gateway.place import Place
from composite_lab.trace.frames import content_text

if TYPE_CHECKING:
    from composite_lab.batch.experiment import Experiment

ASSUMED_TOKENS = 300
"""How long an answer is taken to be when the store has none of that model, in tokens."""
SAMPLED_PROMPTS = 25
"""How many prompts, evenly spaced, stand for all of them."""
_LABEL = re.compile(r'label="(Response [A-Z]+)"')
_SCORE_FORM = re.compile(r'\{"Response A": \{.*\}\}', re.DOTALL)
_CELL = re.compile(r"(?<=: )<(-?[\d.e+-]+) to -?[\d.e+-]+>(?=[,}])")


@dataclass(frozen=True)
class Forecast:
    """What a comparison would send and cost, before anything is paid for.

    `frame` has a row per strategy: `calls`, `kept_calls` (in the store already), `prompt_tokens`,
    `completion_tokens`, `cost_usd` (NA when a price is unknown). Calls that strategies share count for
    the first of them. `assumption` says what the lengths of answers are taken from.
    """

    frame: pd.DataFrame
    assumption: str

    @property
    def calls(self) -> int:
        """Calls to be sent."""
        return int(self.frame["calls"].sum())

    @property
    def cost_usd(self) -> float | None:
        """Their price, None when one is unknown."""
        costs = self.frame["cost_usd"]
        return None if costs.isna().any() else float(costs.sum())

    def __repr__(self) -> str:
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        tokens = int(self.frame[["prompt_tokens", "completion_tokens"]].to_numpy().sum())
        return f"<Forecast: {self.calls} calls, {tokens} tokens, {cost}; {self.assumption}>"


@dataclass
class _Tally:
    calls: float = 0
    kept_calls: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    cost_usd: float | None = 0.0


@dataclass
class _Pretence:
    """A memory that knows an answer to everything: the store's, or one that is made up."""

    store: Store
    repeat: int
    tally: _Tally
    made_up: dict[str, Remembered]
    options: Sequence[str] = ()
    has_cap: bool = False
    is_pretence: bool = True

    async def recall(self, key: str, request: Request) -> Remembered | None:
        kept = self.store.answer(key)
        if kept is not None:
            self.tally.kept_calls += 1
            return kept.answer()
        if key not in self.made_up:
            self.made_up[key] = self._make_up(request)
        return self.made_up[key]

    def _make_up(self, request: Request) -> Remembered:
        seat, messages = request.seat, request.messages
        tally, length = self.tally, min(ASSUMED_TOKENS, seat.max_tokens or ASSUMED_TOKENS)
        tokens = count_tokens(seat.model, messages)
        tally.calls += 1
        tally.prompt_tokens += tokens
        tally.completion_tokens += length
        price = price_of(seat, tokens, length, request.params.get("service_tier"))
        tally.cost_usd = None if price is None or tally.cost_usd is None else tally.cost_usd + price
        message = {"role": "assistant", "content": _text(messages, request.place, length, self.options)}
        response = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        return Remembered({"text": message["content"]}, price, 0.0, response)

    def remember(self, key: str, answer: Remembered) -> None: ...

    def let_go(self, key: str) -> None: ...

    def check_budget(self) -> None: ...

    def slot(self) -> AbstractAsyncContextManager[Any]:
        return nullcontext()


async def forecast(experiment: Experiment) -> Forecast:
    """The forecast of an experiment: its own code, run on made-up answers to a sample of its prompts."""
    plan, store = experiment.plan, experiment.comparison.store
    step = max(1, len(plan.prompts) // SAMPLED_PROMPTS)
    sampled = {prompt.id for prompt in plan.prompts[::step]}
    scale = len(plan.prompts) / len(sampled)
    tallies = {name: _Tally() for name in plan.strategies}
    made_up: dict[str, Remembered] = {}
    with store.in_use():
        for task in plan.tasks():
            if task.prompt.id not in sampled:
                continue
            options = getattr(task.strategy, "verdict", ())
            pretence = _Pretence(store, task.repeat, tallies[task.name], made_up, options)
            # An answer in the store may not do: what follows it is not counted.
            with suppress(CompositeError), remembering(pretence):
                result = await task.strategy.arun(task.prompt.messages, **task.params)
                await _judge(experiment, task, result.text)
    frame = pd.DataFrame(
        [
            {
                "strategy": name,
                "calls": round(tally.calls * scale),
                "kept_calls": round(tally.kept_calls * scale),
                "prompt_tokens": round(tally.prompt_tokens * scale),
                "completion_tokens": round(tally.completion_tokens * scale),
                "cost_usd": None if tally.cost_usd is None else tally.cost_usd * scale,
            }
            for name, tally in tallies.items()
        ]
    ).astype({"strategy": "string", "cost_usd": "Float64"})
    return Forecast(frame, f"answers taken to be {ASSUMED_TOKENS} tokens long")


async def _judge(experiment: Experiment, task: Task, text: str) -> None:
    scorer, ask = experiment.scorer, asker([])
    if isinstance(scorer, Scorer):
        await scorer.score(text, task.prompt.target, about(task), ask=ask)
    elif isinstance(scorer, PairwiseJudge) and task.name != experiment.comparison.baseline:
        await scorer.compare(task.prompt.text, text, f"{text}.", ask=ask)


def _text(messages: list[dict[str, Any]], place: Place, length: int, options: Sequence[str]) -> str:
    """An answer of about that many tokens, in the form that its reader looks for."""
    if place.stage == STAGE:
        return '{"reason": "made up", "score": null, "better": "tie"}'
    spoken = [message for message in messages if message["role"] == "user"]
    text, asked = "word " * length, content_text(spoken[-1].get("content") if spoken else None) or ""
    if place.role == "reviewer" and (form := _SCORE_FORM.search(asked)):
        scores = _CELL.sub(r"\1", form[0])
        return f"{text}\n\n{scores}"
    if place.role == "reviewer":
        lines = [f"{number}. {label}" for number, label in enumerate(_LABEL.findall(asked), 1)]
        return f"{text}\n\nFINAL RANKING:\n" + "\n".join(lines)
    listed = asked.splitlines()
    if choice := next((option for option in options if f"- {option}" in listed), None):
        return f"{text}\n\nVERDICT: {choice}\nCONFIDENCE: 0.5"
    return text
