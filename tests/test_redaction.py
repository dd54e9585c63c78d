"""Secrets and unprintable characters, taken out of texts and exceptions."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm.exceptions import AuthenticationError

from composite_lab.redaction import MASK, printable, redact, redact_error

KEY = "sk-1234567890"


@pytest.mark.parametrize(
    ("text", "secrets", "redacted"),
    [
        ("no secret here", [KEY], "no secret here"),
        (f"key {KEY}, again {KEY}", [KEY], f"key {MASK}, again {MASK}"),
        ("sk-12 and sk-12-long", ["sk-12", "sk-12-long"], f"{MASK} and {MASK}"),
        ("sk-12 and sk-12-long", ["sk-12-long", "sk-12"], f"{MASK} and {MASK}"),
        ("<sk-long-one>", ["long", "sk-long-one"], f"<{MASK}>"),
        ("a.c abc", ["a.c"], f"{MASK} abc"),
        ("", [KEY], ""),
        ("text", [], "text"),
    ],
)
def test_every_secret_becomes_a_mask(text: str, secrets: list[str], redacted: str) -> None:
    assert redact(text, secrets) == redacted


def test_secrets_that_share_a_piece_leave_no_piece_behind() -> None:
    assert redact("<sk-abcd-efgh>", ["sk-abcd", "abcd-efgh"]) == f"<{MASK}>"


def test_empty_secret_hides_nothing() -> None:
    assert redact("plain text", [""]) == "plain text"


def test_secret_that_is_part_of_the_mask_leaves_the_mask_whole() -> None:
    assert redact(f"{KEY} red", [KEY, "red"]) == f"{MASK} {MASK}"


@given(st.text(), st.lists(st.text(min_size=11), max_size=4), st.text())
def test_no_secret_survives_in_any_text(before: str, secrets: list[str], after: str) -> None:
    text = redact(before + after.join(secrets) + after, secrets)
    assert not [secret for secret in secrets if secret in text]


def litellm_error(message: str) -> AuthenticationError:
    return AuthenticationError(message=message, model="gpt-4o", llm_provider="openai")


def test_secret_goes_out_of_every_text_of_an_exception() -> None:
    error = litellm_error(f"wrong key {KEY}")
    error.body = {"error": {"message": f"wrong key {KEY}"}}
    error.litellm_debug_info = f"sent with {KEY}"
    redact_error(error, [KEY])
    assert isinstance(error, AuthenticationError)
    assert (error.status_code, error.llm_provider) == (401, "openai")
    for text in (str(error), repr(error), error.message, str(error.body), str(error.args)):
        assert KEY not in text
    assert MASK in error.message
    assert MASK in str(error.litellm_debug_info)


def test_plain_exception_is_redacted_in_its_arguments() -> None:
    error = ValueError(f"bad {KEY}", 42)
    redact_error(error, [KEY])
    assert error.args == (f"bad {MASK}", 42)


def test_exception_without_a_secret_stays_as_it_is() -> None:
    cause = OSError("refused")
    error = litellm_error("wrong key")
    error.__cause__ = cause
    before = (error.args, error.message, error.body)
    redact_error(error, [KEY])
    assert (error.args, error.message, error.body) == before
    assert error.__cause__ is cause


def with_cause(message: str, other: str) -> ValueError:
    error = ValueError(message)
    error.__cause__ = RuntimeError(other)
    return error


def with_context(message: str, other: str) -> ValueError:
    error = ValueError(message)
    error.__context__ = RuntimeError(other)
    return error


@pytest.mark.parametrize("chained", [with_cause, with_context])
@pytest.mark.parametrize("message", [f"bad {KEY}", "bad key"])
def test_traceback_does_not_show_a_secret_of_the_causes(
    chained: Callable[[str, str], ValueError], message: str
) -> None:
    error = chained(message, f"sent {KEY}")
    redact_error(error, [KEY])
    assert KEY not in "".join(traceback.format_exception(error))


class ReadOnlyError(Exception):
    """As Google's client raises them: its message is a property."""

    @property
    def message(self) -> str:
        return str(self.args[0])


def test_exception_with_a_read_only_message_is_redacted_too() -> None:
    error = ReadOnlyError(f"bad {KEY}")
    redact_error(error, [KEY])
    assert KEY not in str(error)


@pytest.mark.parametrize("text", ["", "plain", "Zürich 東京 🗼", "\0\t\n", "e\u0301", "\ufffd"])
def test_printable_text_is_left_alone(text: str) -> None:
    assert printable(text) is text


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b", "\udce9t\udce9", "🗼\ud83d🗼"])
def test_lone_surrogates_are_replaced_one_for_one(text: str) -> None:
    clean = printable(text)
    assert json.loads(json.dumps(clean).encode()) == clean
    assert clean.encode().decode() == clean
    assert len(clean) == len(text)
    assert clean.replace("?", "") == "".join(char for char in text if not "\ud800" <= char <= "\udfff")


def test_two_halves_of_one_character_become_that_character() -> None:
    assert printable("\ud83d\ude00") == "😀"


@given(st.text(st.characters(exclude_categories=())))
def test_printable_always_gives_text_that_can_be_encoded(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    printable(text).encode()
