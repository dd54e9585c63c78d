"""A Council to look at: the notebook behind the pictures of the explorer and the tests of its colours."""

from __future__ import annotations

NOTEBOOK = "showcase.ipynb"
CELLS = (
    """
    import composite_lab as lab
    from composite_lab.testing import FakeServer, load_questions

    def seat(name, **how):
        options = "".join(f"+{option}={value}" for option, value in how.items())
        return lab.Seat(
            model=f"openai/{name}{options}", name=name, retries=0,
            api_base=FakeServer.shared().base_url, api_key="none-needed",
            input_cost_per_token=0.15e-6, output_cost_per_token=0.60e-6,
        )

    members = [
        seat("ada", accuracy=0.9, latency=0.4), seat("ben", accuracy=0.6, latency=0.7),
        seat("cleo", accuracy=0.7, latency=0.5), seat("dora", accuracy=0.8, latency=0.3),
    ]
    question = next(question for question in load_questions() if question.id == "change-at-the-till-3")
    council = lab.Council(chairman=members[3], members=members)
    council.run("Hello")  # the first calls of a process also load LiteLLM's client
    """,
    "council.run(question.prompt)",
    """
    three = [*members[:2], seat("eve", status=503)]
    lab.Council(chairman=members[3], members=three, min_members=2).run("Why?")
    """,
)
COUNCIL, FAILED_MEMBER = 1, 2
"""The cells with an explorer: a run as planned, and one with a member that failed."""
