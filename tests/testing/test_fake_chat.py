"""Plain answers: their form, their content and what they depend on."""

from __future__ import annotations

import json
from typing import Any

import pytest

MODEL = "fake-a"


def test_answer_has_the_form_of_a_chat_completion(chat: Any) -> None:
    answer = chat(MODEL).json
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }


def test_equal_requests_get_equal_bytes_whatever_came_between(chat: Any) -> None:
    first = chat(MODEL, seed=1).raw
    chat(MODEL, "Something else")
    chat.server.reset()
    assert chat(MODEL, seed=1).raw == first


@pytest.mark.parametrize("change", [{"seed": 2}, {"temperature": 0.5}, {"prompt": "Why is grass green?"}])
def test_content_varies_with_the_request(chat: Any, change: dict[str, Any]) -> None:
    assert chat(MODEL, **change).content != chat(MODEL).content


def test_content_varies_with_the_model_but_not_with_its_faults(chat: Any) -> None:
    assert chat("fake-b").content != chat(MODEL).content
    assert chat(f"{MODEL}+latency=0.01+prompt_tokens=7").content == chat(MODEL).content


def test_content_names_the_model_without_options_and_quotes_the_question(chat: Any) -> None:
    question = "Where do all the lost umbrellas of a big city finally go, and who keeps them?"
    content = chat(f"{MODEL}+latency=0", question).content
    assert MODEL in content
    assert "+latency" not in content
    assert question[:60] in content
    assert question not in content


def test_parts_are_read_like_a_string(chat: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert chat(
        "fake-a+echo", [{"type": "text", "text": "one"}, image, {"type": "text", "text": "two"}]
    ).content == ("one\ntwo")


def test_n_answers_begin_with_the_single_answer(chat: Any) -> None:
    choices = chat(MODEL, n=3).json["choices"]
    texts = [choice["message"]["content"] for choice in choices]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts[0] == chat(MODEL).content


def test_json_object_is_answered_with_an_object(chat: Any) -> None:
    content = chat(MODEL, response_format={"type": "json_object"}).content
    assert MODEL in json.loads(content)["answer"]


def test_json_schema_is_answered_with_a_fitting_object(chat: Any) -> None:
    schema = {
        "type": "object",
        "properties": {
            "verdict": {"enum": ["yes", "no"]},
            "score": {"type": "integer", "minimum": 3, "maximum": 5},
            "sure": {"type": "boolean"},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 2},
            "note": {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "null"}]},
        },
        "required": ["verdict", "score", "sure", "steps", "note"],
        "$defs": {"step": {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "judgement", "schema": schema}}
    found = json.loads(chat(MODEL, response_format=asked).content)
    assert found["verdict"] in {"yes", "no"}
    assert 3 <= found["score"] <= 5
    assert isinstance(found["sure"], bool)
    assert [set(step) for step in found["steps"]] == [{"why"}, {"why"}]
    assert len(found["note"]) == 4


def test_models_are_listed(chat: Any) -> None:
    connection = chat.connect()
    connection.request("GET", "/v1/models")
    listed = json.loads(connection.getresponse().read())
    connection.close()
    assert listed["object"] == "list"
    assert MODEL in [row["id"] for row in listed["data"]]


def test_path_without_v1_works_too(chat: Any) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    assert chat.send(body, path="/chat/completions").raw == chat.send(body).raw


def test_unknown_model_is_not_found(chat: Any) -> None:
    answer = chat("unknown-model")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "model_not_found"
    assert "unknown-model" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{not json", "JSON object"),
        ([], "JSON object"),
        ({"messages": [{"role": "user", "content": "x"}]}, "`model`"),
        ({"model": "fake-a"}, "`messages`"),
        ({"model": "fake-a", "messages": []}, "`messages`"),
        ({"model": "fake-a", "messages": ["x"]}, "`messages[0]`"),
        ({"model": "fake-a", "messages": [{"role": "user"}], "n": 0}, "`n`"),
        ({"model": "fake-a", "messages": [{"role": "user"}], "tools": [{}]}, "`tools[0].function.name`"),
        ({"model": "fake-a", "messages": [{"role": "user"}], "tool_choice": "maybe"}, "`tool_choice`"),
    ],
)
def test_unusable_body_is_refused_with_its_reason(chat: Any, body: Any, named: str) -> None:
    answer = chat.send(body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert named in answer.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_body_nobody_thought_of_is_answered_with_an_error(chat: Any, stream: bool) -> None:
    schema = {"type": "json_schema", "json_schema": "not an object"}
    answer = chat(MODEL, response_format=schema, stream=stream)
    assert answer.status == 500
    assert "AttributeError" in answer.json["error"]["message"]
    assert chat.server.requests()[0].outcome == "error"


def test_unknown_path_is_answered_with_a_json_error(chat: Any) -> None:
    answer = chat.send({}, path="/v1/embeddings")
    assert answer.status == 404
    assert "/v1/embeddings" in answer.json["error"]["message"]


def test_connection_is_kept_alive_between_requests(chat: Any) -> None:
    connection = chat.connect()
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
    connection.connect()
    sock = connection.sock
    for stream in (False, True, False):
        sent = json.loads(body) | {"stream": stream}
        connection.request("POST", "/v1/chat/completions", json.dumps(sent))
        assert connection.getresponse().read()
        assert connection.sock is sock
    connection.close()


def test_chunked_request_body_is_read(chat: Any) -> None:
    connection = chat.connect()
    body = json.dumps(
        {"model": "fake-a+echo", "messages": [{"role": "user", "content": "in pieces"}]}
    ).encode()
    pieces = [body[:20], body[20:]]
    for _ in range(2):
        headers = {"Transfer-Encoding": "chunked"}
        connection.request("POST", "/v1/chat/completions", iter(pieces), headers, encode_chunked=True)
        assert json.loads(connection.getresponse().read())["choices"][0]["message"]["content"] == "in pieces"
    connection.close()
