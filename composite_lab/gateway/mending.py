"""A whole reply put right before anybody reads it: no thoughts in its text, an id on each tool call."""

from __future__ import annotations

from typing import Any

from composite_lab.gateway.toolcalls import id_maker, mend_ids
from composite_lab.thoughts import split_thoughts


def mend(response: Any, messages: list[dict[str, Any]]) -> bool:
    """Put a LiteLLM response right in place; `messages` is what was asked.

    True when a text of it began inside of thoughts.
    """
    began_in_thoughts = False
    for choice in response.choices or ():
        message = choice.message
        content = message.content
        if isinstance(content, str) and content:
            own = vars(message).get("reasoning_content") or ""
            # Who tells thoughts apart, as LiteLLM does if both ends are marked, leaves none in the text.
            thoughts, text = split_thoughts(content, plainly=bool(own))
            if thoughts is not None:
                began_in_thoughts = True
                message.content = text
                message.reasoning_content = f"{own}{thoughts}"
        if message.tool_calls:
            mend_ids(message.tool_calls, id_maker(messages, choice.index))
    return began_in_thoughts
