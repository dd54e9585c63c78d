"""A fake OpenAI-compatible server, its fixture questions and a pytest plug-in: tests without a network.

Importing this package loads neither the server nor Flask; the server runs in a process of its own.
"""

from composite_lab.testing.questions import Question, load_questions
from composite_lab.testing.server import FakeServer, FakeServerError, RecordedRequest, ServerStats

__all__ = [
    "FakeServer",
    "FakeServerError",
    "Question",
    "RecordedRequest",
    "ServerStats",
    "load_questions",
]
