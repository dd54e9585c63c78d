"""Tool calls as servers stream them: which pieces are one call, and which ids calls get."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm.types.utils import ChatCompletionDeltaToolCall, Function

from composite_lab.gateway.toolcalls import StreamedCalls, id_maker, mend_ids

WANTS_A, WANTS_B = '{"word": "a"}', '{"word": "b"}'


def piece(
    arguments: str = "",
    name: str | None = None,
    given_id: str | None = None,
    index: int | None = 0,
    **fields: Any,
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": given_id, "type": "function", "index": index, "function": function, **fields}


def custom(
    text: str = "", name: str | None = None, given_id: str | None = None, index: int = 0
) -> dict[str, Any]:
    return {"id": given_id, "type": "custom", "index": index, "custom": {"name": name, "input": text}}


def made(position: int) -> str:
    return f"made-{position}"


def calls_of(pieces: list[Any]) -> list[tuple[str, str, str]]:
    calls = StreamedCalls(made)
    for one in pieces:
        calls.add(one)
    assert [call.position for call in calls.calls] == list(range(len(calls.calls)))
    return [(call.id, call.name, call.arguments) for call in calls.calls]


HALVES = [WANTS_A[:7], WANTS_A[7:]]
TWO = [("x", "f", WANTS_A), ("y", "g", WANTS_B)]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        pytest.param([], [], id="no calls"),
        pytest.param(
            [piece("", "f", "x"), *map(piece, HALVES), piece("", "g", "y", 1), piece(WANTS_B, index=1)],
            TWO,
            id="by index, as OpenAI sends them",
        ),
        pytest.param(
            [
                piece("", "f", "x"),
                piece("", "g", "y", 1),
                piece(HALVES[0]),
                piece(WANTS_B, index=1),
                piece(HALVES[1]),
            ],
            TWO,
            id="fragments of two calls by turns",
        ),
        pytest.param([piece(WANTS_A, "f", "x"), piece(WANTS_B, "g", "y", 1)], TWO, id="whole calls"),
        pytest.param(
            [piece(WANTS_A, "f", "x", 3), piece(WANTS_B, "g", "y", 1)], TWO, id="indexes that begin anywhere"
        ),
        pytest.param(
            [piece(WANTS_A, "f", "x"), piece(WANTS_B, "g", "y")], TWO, id="ids of their own, index 0 for all"
        ),
        pytest.param(
            [piece(WANTS_A, "f", "x", None), piece(WANTS_B, "g", "y", None)],
            TWO,
            id="ids of their own, no index",
        ),
        pytest.param(
            [piece("", "f", "x"), *map(piece, HALVES), piece("", "g", "y"), piece(WANTS_B)],
            TWO,
            id="ids of their own, index 0 for all, in fragments",
        ),
        pytest.param(
            [piece("", "f", "x"), piece("", "f", "y"), piece(WANTS_B)],
            [("x", "f", ""), ("y", "f", WANTS_B)],
            id="another id is another call, also of the same tool and before the first is whole",
        ),
        pytest.param(
            [piece("", "f", "x"), *(piece(half, None, "x") for half in HALVES)],
            [("x", "f", WANTS_A)],
            id="the id again in every piece",
        ),
        pytest.param(
            [*(piece(part, "f", "x") for part in ("", *HALVES, ""))],
            [("x", "f", WANTS_A)],
            id="the id and the name again in every piece, also in an empty last one",
        ),
        pytest.param(
            [piece("", "f"), *(piece(half, "f") for half in HALVES)],
            [("made-0", "f", WANTS_A)],
            id="no id, the name again in every piece",
        ),
        pytest.param(
            [piece(HALVES[0], "f", "x"), piece(HALVES[1], "", "")],
            [("x", "f", WANTS_A)],
            id="empty id and name in what follows",
        ),
        pytest.param(
            [piece(WANTS_A, "f"), piece(WANTS_B, "g", None, 1)],
            [("made-0", "f", WANTS_A), ("made-1", "g", WANTS_B)],
            id="no ids",
        ),
        pytest.param(
            [piece(WANTS_A, "f", ""), piece(WANTS_B, "g", "", 1)],
            [("made-0", "f", WANTS_A), ("made-1", "g", WANTS_B)],
            id="empty ids",
        ),
        pytest.param(
            [piece(WANTS_A, "f", "x"), piece(WANTS_B, "g", "x", 1), piece(WANTS_A, "f", "x", 2)],
            [("x", "f", WANTS_A), ("made-1", "g", WANTS_B), ("made-2", "f", WANTS_A)],
            id="one id for all",
        ),
        pytest.param(
            [piece(WANTS_A, "f", "x"), piece(WANTS_B, "g", "x")],
            [("x", "f", WANTS_A), ("made-1", "g", WANTS_B)],
            id="one id and one index for all",
        ),
        pytest.param(
            [piece(WANTS_A, "f"), piece(WANTS_B, "g"), piece(WANTS_A, "g")],
            [("made-0", "f", WANTS_A), ("made-1", "g", WANTS_B), ("made-2", "g", WANTS_A)],
            id="no ids and one index for all: a name begins a call behind a whole one",
        ),
        pytest.param(
            [piece("", "f"), *map(piece, HALVES), piece("", "f"), piece(WANTS_B)],
            [("made-0", "f", WANTS_A), ("made-1", "f", WANTS_B)],
            id="no ids and one index for all, in fragments",
        ),
        pytest.param(
            [piece("", "f"), piece("", "g")],
            [("made-0", "f", ""), ("made-1", "g", "")],
            id="another name is another call",
        ),
        pytest.param([piece(WANTS_A)], [("made-0", "", WANTS_A)], id="no name at all"),
        pytest.param([{"function": {"name": "f"}}], [("made-0", "f", "")], id="hardly anything"),
        pytest.param(
            [custom("", "run", "x"), custom("print("), custom("1)"), custom("2", "run", "y", 1)],
            [("x", "run", "print(1)"), ("y", "run", "2")],
            id="custom tools",
        ),
        pytest.param(
            [custom("1", "run", "x"), piece(WANTS_A, "f", "y", 1), custom("2")],
            [("x", "run", "12"), ("y", "f", WANTS_A)],
            id="a custom tool beside a function",
        ),
    ],
)
def test_pieces_become_the_calls_that_they_are_of(
    pieces: list[dict[str, Any]], calls: list[tuple[str, str, str]]
) -> None:
    before = copy.deepcopy(pieces)
    assert calls_of(pieces) == calls
    assert pieces == before


def test_a_piece_is_told_with_its_call_and_whether_it_begins_it() -> None:
    calls = StreamedCalls(made)
    given_pieces = [
        piece("", "f", "x"),
        piece(HALVES[0]),
        piece(WANTS_B, "g", "y", 1),
        piece(HALVES[1], extra_content={"a": 1}),
    ]
    told = [calls.add(one) for one in given_pieces]
    assert [(one.call.position, one.begins, one.arguments, one.fields) for one in told] == [
        (0, True, "", {}),
        (0, False, HALVES[0], {}),
        (1, True, WANTS_B, {}),
        (0, False, HALVES[1], {"extra_content": {"a": 1}}),
    ]


def test_a_call_is_written_as_openai_does_with_the_fields_that_a_provider_adds() -> None:
    calls = StreamedCalls(made)
    signature = {"thought_signature": "c2ln"}
    calls.add(piece(HALVES[0], "f", "x", provider_specific_fields=signature))
    calls.add(piece(HALVES[1], caller=None, extra_content={"google": {}}))
    calls.add(custom("print(1)", "run", None, 1))
    assert [call.as_dict() for call in calls.calls] == [
        {
            "id": "x", "type": "function", "function": {"name": "f", "arguments": WANTS_A},
            "provider_specific_fields": signature, "extra_content": {"google": {}},
        },
        {"id": "made-1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}},
    ]  # fmt: skip


def test_pieces_are_taken_as_litellm_reads_them() -> None:
    first = ChatCompletionDeltaToolCall(id="x", function=Function(name="f", arguments=HALVES[0]), index=0)
    second = ChatCompletionDeltaToolCall(id=None, function=Function(name=None, arguments=HALVES[1]), index=0)
    assert calls_of([first, second]) == [("x", "f", WANTS_A)]


@given(
    st.lists(st.tuples(st.sampled_from([None, "", "x", "y"]), st.sampled_from(["f", "g"])), max_size=5),
    st.data(),
)
def test_calls_that_their_index_tells_apart_come_out_whole_however_they_are_cut(
    calls: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    pending: list[list[dict[str, Any]]] = []
    for index, (given_id, name) in enumerate(calls):
        cuts = sorted(data.draw(st.sets(st.integers(0, len(WANTS_A)))))
        parts = [WANTS_A[a:b] for a, b in zip([0, *cuts], [*cuts, len(WANTS_A)], strict=True)]
        pending.append([piece("", name, given_id, index), *(piece(part, index=index) for part in parts)])
    sent = []
    for index in range(len(pending)):  # calls begin in their order, their fragments come by turns
        sent.append(pending[index].pop(0))
    while left := [pieces for pieces in pending if pieces]:
        sent.append(data.draw(st.sampled_from(left)).pop(0))
    found = calls_of(sent)
    assert [(name, arguments) for _, name, arguments in found] == [(name, WANTS_A) for _, name in calls]
    ids = [call_id for call_id, _, _ in found]
    assert len(set(ids)) == len(ids)
    first = {given_id: index for index, (given_id, _) in reversed(list(enumerate(calls))) if given_id}
    assert all(ids[index] == given_id for given_id, index in first.items())


@pytest.mark.parametrize(
    ("given_ids", "ids"),
    [
        (["x", "y"], ["x", "y"]),
        (["x", "x", "x"], ["x", "made-1", "made-2"]),
        ([None, "", 7, "x"], ["made-0", "made-1", "made-2", "x"]),
        (["x", None, "x", "y"], ["x", "made-1", "made-2", "y"]),
        ([], []),
    ],
)
def test_calls_of_a_whole_answer_get_ids_where_theirs_are_empty_or_taken(
    given_ids: list[Any], ids: list[str]
) -> None:
    calls = [SimpleNamespace(id=given_id) for given_id in given_ids]
    mend_ids(calls, made)
    assert [call.id for call in calls] == ids


MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.text() | st.just("half a \ud83d")}),
    max_size=3,
)


@given(MESSAGES, st.integers(0, 9))
def test_made_ids_are_the_same_for_the_same_question_and_nine_letters_and_digits(
    messages: list[Any], choice: int
) -> None:
    ids = [id_maker(messages, choice)(position) for position in range(20)]
    assert ids == [id_maker(copy.deepcopy(messages), choice)(position) for position in range(20)]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", made_id) for made_id in ids)
    assert len(set(ids)) == len(ids)


def test_made_ids_differ_by_conversation_choice_and_position() -> None:
    asked = [{"role": "user", "content": "Why is the sky blue?"}]
    longer = [*asked, {"role": "assistant", "content": "It scatters."}]
    ids = [
        id_maker(messages, choice)(position)
        for messages in (asked, longer, [])
        for choice in range(3)
        for position in range(3)
    ]
    assert len(set(ids)) == 27


def test_made_ids_need_no_json_in_the_messages() -> None:
    assert id_maker([{"role": "user", "content": {1, 2}}], 0)(0)
