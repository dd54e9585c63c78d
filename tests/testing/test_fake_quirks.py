"""The quirks of real servers' answers, the plain answer beside the streamed one."""

from __future__ import annotations

from typing import Any

import pytest

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("add", "look_up")
]
CALL_BOTH = 'Call add {"a": 1} and look_up {"city": "Rome"}.'
USAGE = {"include_usage": True}


def told(events: list[Any], index: int = 0) -> dict[str, Any]:
    """Return the choice that the chunks of a stream add up to."""
    whole: dict[str, Any] = {"message": {}, "finish_reason": None, "logprobs": None}
    message = whole["message"]
    for choice in (one for event in events for one in event["choices"] if one["index"] == index):
        for name, value in choice["delta"].items():
            if name == "tool_calls":
                _add_call(message.setdefault(name, []), value[0])
            else:
                message[name] = message[name] + value if message.get(name) else value
        whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
        _add_logprobs(whole, choice["logprobs"])
    return whole


def _add_call(calls: list[Any], piece: dict[str, Any]) -> None:
    if "name" in piece["function"]:
        calls.append({name: value for name, value in piece.items() if name != "index"})
    else:
        calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def _add_logprobs(whole: dict[str, Any], more: dict[str, Any] | None) -> None:
    if whole["logprobs"] is None:
        whole["logprobs"] = more
    elif more is not None:
        for name in ("content", "refusal"):
            whole["logprobs"][name] = (whole["logprobs"][name] or []) + (more[name] or []) or None


def both(chat: Any, model: str, prompt: str = "Why is the sky blue?", **body: Any) -> dict[str, Any]:
    """Return the first choice of a plain answer, which the streamed one must equal."""
    [choice] = chat(model, prompt, **body).json["choices"]
    streamed = told(chat(model, prompt, stream=True, **body).events)
    said = {name: value for name, value in choice["message"].items() if value or name == "content"}
    for details in (said, streamed["message"]):
        # One piece of reasoning has one entry, in a stream as many as there are pieces.
        if "reasoning_details" in details:
            details["reasoning_details"] = "".join(one["text"] for one in details["reasoning_details"])
    if streamed["message"].get("refusal") is None:
        streamed["message"].pop("refusal", None)
    assert streamed["message"] == said
    assert (streamed["finish_reason"], streamed["logprobs"]) == (choice["finish_reason"], choice["logprobs"])
    return dict(choice)


MESSAGES = [
    ("finish=length", {"content": ""}, "length"),
    ("finish=content_filter", {"content": None}, "content_filter"),
    ("refusal", {"content": None, "refusal": "I'm sorry, but I cannot help with that."}, "stop"),
    ("text=yes+refusal", {"content": None, "refusal": "I'm sorry, but I cannot help with that."}, "stop"),
    ("text=yes", {"content": "yes", "refusal": None}, "stop"),
]


@pytest.mark.parametrize(("option", "message", "finish"), MESSAGES)
def test_an_answer_may_be_no_text(chat: Any, option: str, message: dict[str, Any], finish: str) -> None:
    choice = both(chat, f"fake-a+{option}")
    assert choice["message"] == {"role": "assistant", "refusal": None} | message
    assert choice["finish_reason"] == finish


@pytest.mark.parametrize(
    ("option", "begin", "end", "finish"),
    [
        ("open", "<think>\nSecret thoughts of fake-a", "\n</think>\n\nyes", "stop"),
        ("close", "Secret thoughts of fake-a", "\n</think>\n\nyes", "stop"),
        ("unclosed", "<think>\nSecret thoughts of fake-a", ".", "length"),
    ],
)
def test_thoughts_stand_in_the_content(chat: Any, option: str, begin: str, end: str, finish: str) -> None:
    model = f"fake-a+text=yes+think={option}"
    choice = both(chat, model)
    content = choice["message"]["content"]
    assert content.startswith(begin)
    assert content.endswith(end)
    assert ("yes" in content, choice["finish_reason"]) == (option != "unclosed", finish)
    pieces = [event["choices"][0]["delta"].get("content") or "" for event in chat(model, stream=True).events]
    assert not [piece for piece in pieces if "<think>" in piece or "</think>" in piece]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_travels_under_the_name_the_server_has_for_it(chat: Any, field: str) -> None:
    message = both(chat, f"fake-a+reasoning+reasoning_field={field}")["message"]
    assert message[field].startswith("Thinking about")
    assert len({"reasoning", "reasoning_content"} & message.keys()) == 1


@pytest.mark.parametrize(
    ("option", "ids"), [("none", [None, None]), ("empty", ["", ""]), ("same", ["call_0", "call_0"])]
)
def test_ids_of_tool_calls_may_be_of_no_use(chat: Any, option: str, ids: list[Any]) -> None:
    calls = both(chat, f"fake-a+tool_ids={option}", CALL_BOTH, tools=TOOLS)["message"]["tool_calls"]
    assert [call.get("id") for call in calls] == ids
    assert all(("id" in call) == (option != "none") for call in calls)


@pytest.mark.parametrize(
    ("option", "indices"),
    [
        ("tool_index=zero", [0, 0]),
        ("tool_index=none", [None, None]),
        ("tool_ids=none", [0, 1]),
        ("tool_pieces=whole", [0, 1]),
    ],
)
def test_tool_calls_may_come_in_one_piece_each(chat: Any, option: str, indices: list[Any]) -> None:
    model = f"fake-a+{option}"
    both(chat, model, CALL_BOTH, tools=TOOLS)
    events = chat(model, CALL_BOTH, tools=TOOLS, stream=True).events
    deltas = [event["choices"][0]["delta"] for event in events]
    pieces = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [piece["function"]["arguments"] for piece in pieces] == ['{"a": 1}', '{"city": "Rome"}']
    assert [piece.get("index") for piece in pieces] == indices


def test_id_and_name_may_come_with_every_piece_of_a_tool_call(chat: Any) -> None:
    events = chat("fake-a+tool_pieces=repeated", CALL_BOTH, tools=TOOLS, stream=True).events
    deltas = [event["choices"][0]["delta"] for event in events]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    for index, (name, arguments) in enumerate([("add", '{"a": 1}'), ("look_up", '{"city": "Rome"}')]):
        pieces = [piece for piece in calls if piece["index"] == index]
        assert len({piece["id"] for piece in pieces}) == 1
        assert {piece["function"]["name"] for piece in pieces} == {name}
        given = [piece["function"]["arguments"] for piece in pieces]
        assert ("".join(given), given[-1]) == (arguments, "")


def test_a_model_that_wants_its_thoughts_back_gives_them_with_its_calls_only(chat: Any) -> None:
    message = both(chat, "fake-a+needs_reasoning", CALL_BOTH, tools=TOOLS)["message"]
    thoughts = 'I need add with {"a": 1}. I need look_up with {"city": "Rome"}.'
    assert message["reasoning_content"] == thoughts
    assert "reasoning_content" not in both(chat, "fake-a+needs_reasoning")["message"]


def test_signatures_are_a_function_of_name_and_arguments(chat: Any) -> None:
    def signatures(model: str, prompt: str) -> list[str]:
        calls = both(chat, model, prompt, tools=TOOLS)["message"]["tool_calls"]
        return [call["provider_specific_fields"]["thought_signature"] for call in calls]

    first, second = signatures("fake-a+needs_signatures", CALL_BOTH)
    assert first != second
    assert signatures("fake-b+needs_signatures", 'Now add {"a": 1} again.') == [first]
    assert signatures("fake-b+needs_signatures", 'Now add {"a": 2} again.') != [first]


def test_an_answer_may_have_no_choices(chat: Any) -> None:
    assert chat("fake-a+no_choices").json["choices"] == []
    assert [event["choices"] for event in chat("fake-a+no_choices", stream=True).events] == [[]]
    events = chat("fake-a+no_choices", stream=True, stream_options=USAGE).events
    assert [event["choices"] for event in events] == [[], []]
    assert events[-1]["usage"]["total_tokens"] == 120


def test_usage_may_be_all_zero(chat: Any) -> None:
    spent = chat("fake-a+usage=zero+prompt_tokens=5+completion_tokens=7").json["usage"]
    counts = [spent[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    details = [spent["prompt_tokens_details"], spent["completion_tokens_details"]]
    assert (counts, details) == ([0, 0, 0], [{"cached_tokens": 0}, {"reasoning_tokens": 0}])
    assert chat("fake-a+usage=zero", stream=True, stream_options=USAGE).events[-1]["usage"] == spent


def test_usage_may_be_on_every_chunk_and_grow(chat: Any) -> None:
    whole = chat("fake-a+usage=every").json["usage"]
    assert whole["total_tokens"] == 120
    for options, more in ({}, 0), ({"stream_options": USAGE}, 1):
        events = chat("fake-a+usage=every", stream=True, **options).events
        counts = [event["usage"]["completion_tokens"] for event in events]
        assert counts == sorted(counts)
        assert counts[0] < 20
        assert {event["usage"]["prompt_tokens"] for event in events} == {100}
        assert events[-1]["usage"] == whole
        assert [event["choices"] == [] for event in events].count(True) == more


def test_a_rich_message_has_annotations_images_and_sources(chat: Any) -> None:
    message = both(chat, "fake-a+rich")["message"]
    [note] = message["annotations"]
    assert note["type"] == "url_citation"
    assert note["url_citation"]["url"] == "https://example.com/fake-a"
    [image] = message["images"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert message["provider_specific_fields"] == {"citations": ["https://example.com/fake-a"]}
    assert "audio" not in message
    assert chat("fake-a+rich").json["citations"] == ["https://example.com/fake-a"]
    events = chat("fake-a+rich", stream=True).events
    assert all(event["citations"] == ["https://example.com/fake-a"] for event in events)
    assert message["content"] == chat("fake-a").content


def test_a_rich_message_speaks_and_shows_its_reasoning_if_there_is_any(chat: Any) -> None:
    message = both(chat, "fake-a+rich", modalities=["text", "audio"])["message"]
    assert message["audio"]["transcript"] == message["content"]
    message = both(chat, "fake-a+rich+reasoning+reasoning_field=reasoning")["message"]
    [detail] = message["reasoning_details"]
    assert (detail["type"], detail["text"]) == ("reasoning.text", message["reasoning"])
    assert "annotations" not in both(chat, "fake-a+rich", CALL_BOTH, tools=TOOLS)["message"]


def test_logprobs_cover_the_content_and_change_nothing_else(chat: Any) -> None:
    choice = both(chat, "fake-a", logprobs=True, top_logprobs=2)
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert choice["message"]["content"] == chat("fake-a").content
    assert b"".join(bytes(token["bytes"]) for token in tokens).decode() == choice["message"]["content"]
    assert all(token["logprob"] <= 0 for token in tokens)
    for token in tokens:
        best, second = token["top_logprobs"]
        assert (best["token"], best["logprob"]) == (token["token"], token["logprob"])
        assert second["logprob"] < best["logprob"]
    plain = both(chat, "fake-a", logprobs=True)["logprobs"]["content"]
    assert [token["top_logprobs"] for token in plain] == [[] for _ in tokens]
    assert both(chat, "fake-a", logprobs=False)["logprobs"] is None
    refused = both(chat, "fake-a+refusal", logprobs=True)
    assert "".join(one["token"] for one in refused["logprobs"]["refusal"]) == refused["message"]["refusal"]
    assert refused["logprobs"]["content"] is None


def test_interleaved_choices_take_turns(chat: Any) -> None:
    # Thoughts are streamed in short pieces: some choices have more of them than others.
    model = "fake-a+think=open+interleaved"
    events = chat(model, stream=True, n=3).events
    indices = [event["choices"][0]["index"] for event in events]
    assert indices[:6] == [0, 1, 2, 0, 1, 2]
    whole = chat(model, n=3).json["choices"]
    texts = [told(events, index)["message"]["content"] for index in range(3)]
    assert texts == [choice["message"]["content"] for choice in whole]
    one_by_one = [
        event["choices"][0]["index"] for event in chat("fake-a+think=open", stream=True, n=3).events
    ]
    assert one_by_one == sorted(indices)


def test_a_stream_may_end_without_a_finish_reason(chat: Any) -> None:
    events = chat("fake-a+no_finish", stream=True).events
    whole = told(events)
    assert (whole["message"]["content"], whole["finish_reason"]) == (chat("fake-a").content, None)


def test_a_stream_may_end_without_done(chat: Any) -> None:
    usual = chat("fake-a", stream=True).raw
    raw = chat("fake-a+no_done+text=yes", stream=True).raw
    assert usual.endswith(b"\n\ndata: [DONE]\n\n")
    assert b"[DONE]" not in raw
    assert b'"finish_reason": "stop"' in raw


def test_a_streams_first_chunk_may_have_no_choices(chat: Any) -> None:
    first, *others = chat("fake-a+empty_first", stream=True).events
    assert (first["choices"], first["prompt_filter_results"][0]["prompt_index"]) == ([], 0)
    assert told(others)["message"]["content"] == chat("fake-a").content


def test_a_stream_may_carry_an_error_half_way(chat: Any) -> None:
    *before, last = chat("fake-a+stream_error", stream=True, stream_options=USAGE).events
    assert (last["error"]["code"], last["choices"]) == (502, [])
    content = told(before)["message"]["content"]
    whole = chat("fake-a+stream_error").content
    assert whole.startswith(content)
    assert 0 < len(content) < len(whole)
    assert told(before)["finish_reason"] is None


@pytest.mark.parametrize(
    "option", ["finish=length", "refusal", "no_choices", "no_finish", "stream_error", "empty"]
)
def test_times_limits_the_faults_among_the_quirks(chat: Any, option: str) -> None:
    model = f"fake-a+{option}+times=1"
    assert chat(model, stream=True).raw != chat(model, stream=True).raw
    streamed = told(chat(model, stream=True).events)
    assert (streamed["message"]["content"], streamed["finish_reason"]) == (chat("fake-a").content, "stop")


@pytest.mark.parametrize("option", ["think=open", "no_done", "usage=zero", "rich", "empty_first"])
def test_times_does_not_limit_what_a_server_is_like(chat: Any, option: str) -> None:
    asked = {"stream": True, "stream_options": USAGE}
    limited = chat(f"fake-a+{option}+times=0", **asked).raw
    assert limited.replace(b"+times=0", b"") == chat(f"fake-a+{option}", **asked).raw
