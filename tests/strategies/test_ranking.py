"""Labels, and the standings that ballots make."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab import Ballot, Standing
from composite_lab.strategies.ranking import relabel, standings
from composite_lab.trace.call import label

A, B, C, D = LABELS = [label(index) for index in range(4)]


def ballot(*ranking: int, reviewer: int = 9) -> Ballot:
    """A valid ballot: the members from best to worst, shown in the order of their numbers."""
    members = sorted(ranking)
    labels = {member: label(position) for position, member in enumerate(members)}
    return Ballot(
        reviewer=reviewer,
        labels=list(labels.values()),
        members=members,
        ranking=[labels[member] for member in ranking],
        status="valid",
    )


def unusable(*members: int) -> Ballot:
    labels = [label(position) for position in range(len(members))]
    return Ballot(reviewer=9, labels=labels, members=list(members), status="invalid")


def scores(found: list[Standing]) -> dict[int, tuple[float | None, float | None]]:
    return {
        standing.member: (
            None if standing.borda is None else round(standing.borda, 9),
            None if standing.mean_rank is None else round(standing.mean_rank, 9),
        )
        for standing in found
    }


@pytest.mark.parametrize(
    ("index", "letters"),
    [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")],
)
def test_labels_count_like_the_columns_of_a_spreadsheet(index: int, letters: str) -> None:
    assert label(index) == f"Response {letters}"


def test_labels_are_distinct() -> None:
    assert len({label(index) for index in range(2_000)}) == 2_000


def test_relabel_replaces_all_at_once() -> None:
    text = "Response A beats Response B; **Response A**'s proof holds, Response AA's does not. (Response C)"
    names = {A: B, B: A, "Response AA": "Response C", C: "Response AA"}
    assert relabel(text, names) == (
        "Response B beats Response A; **Response B**'s proof holds, Response C's does not. (Response AA)"
    )


@pytest.mark.parametrize(
    "text",
    ["", "Nothing of the kind.", "Response AB, Response D1, MyResponse A", "A and B"],
)
def test_relabel_keeps_text_without_labels(text: str) -> None:
    assert relabel(text, {A: B, B: A}) == text
    assert relabel(text, {}) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Responses A and B differ.", "Responses B and A differ."),
        ("responses A, B, and C: A is best", "responses B, A, and C: A is best"),
        ("Responses A/B are alike", "Responses B/A are alike"),
        ("Response A and I agree", "Response B and I agree"),
        ("Responses are many. A fine day.", "Responses are many. A fine day."),
    ],
)
def test_relabel_reads_several_labels_behind_one_word(text: str, told: str) -> None:
    assert relabel(text, {A: B, B: A, C: C, label(8): label(8)}) == told


def test_relabel_keeps_english_that_only_looks_like_a_label() -> None:
    text = "It lists in response a few causes; such a response a reader can use."
    assert relabel(text, {A: B, B: A}) == text


@given(st.permutations(LABELS), st.lists(st.sampled_from([*LABELS, " over ", "\n", "."]), max_size=20))
def test_relabel_is_undone_by_its_inverse(order: list[str], pieces: list[str]) -> None:
    names = dict(zip(LABELS, order, strict=True))
    text = " ".join(pieces)
    assert relabel(relabel(text, names), {new: old for old, new in names.items()}) == text


def test_borda_and_mean_rank_against_a_count_by_hand() -> None:
    # 0: beats 3/3, 1/3, 2/2; 1: 2/3, 3/3, 0/2; 2: 1/3, 2/3; 3: 0/3, 0/3, 1/2.
    found = standings([ballot(0, 1, 2, 3), ballot(1, 2, 0, 3), ballot(0, 3, 1)], [0, 1, 2, 3])
    assert [standing.member for standing in found] == [0, 1, 2, 3]
    assert [standing.borda for standing in found] == pytest.approx([7 / 9, 5 / 9, 1 / 2, 1 / 6])
    assert [standing.mean_rank for standing in found] == pytest.approx([5 / 3, 2, 5 / 2, 10 / 3])
    assert [(s.place, s.ballots, s.label) for s in found] == [(1, 3, A), (2, 3, B), (3, 2, C), (4, 3, D)]


@pytest.mark.parametrize("best_to_worst", list(permutations(range(4))))
def test_leaving_oneself_out_moves_nobody(best_to_worst: tuple[int, ...]) -> None:
    whole = [ballot(*best_to_worst) for _ in range(4)]
    without_self = [ballot(*(m for m in best_to_worst if m != own), reviewer=own) for own in range(4)]
    expected = standings(whole, range(4))
    found = standings(without_self, range(4))
    assert [s.member for s in found] == [s.member for s in expected] == list(best_to_worst)
    assert [s.borda for s in found] == pytest.approx([s.borda for s in expected])
    assert [s.place for s in found] == [1, 2, 3, 4]


def test_ties_share_a_place_and_the_next_place_is_left_out() -> None:
    found = standings([ballot(0, 1, 2), ballot(1, 0, 2)], [0, 1, 2])
    assert [(standing.member, standing.place) for standing in found] == [(0, 1), (1, 1), (2, 3)]


def test_order_of_the_ballots_does_not_break_a_tie() -> None:
    cycle = [ballot(*range(shift, 8), *range(shift)) for shift in range(8)]  # sums of sevenths, in any order
    for ballots in (cycle, cycle[::-1], cycle[3:] + cycle[:3]):
        assert {standing.place for standing in standings(ballots, range(8))} == {1}


@pytest.mark.parametrize("ballots", [[], [unusable(0, 1, 2)]])
def test_without_a_valid_ballot_nobody_has_a_score(ballots: list[Ballot]) -> None:
    found = standings(ballots, [0, 1, 2])
    assert [(s.member, s.place, s.borda, s.mean_rank, s.ballots) for s in found] == [
        (member, 1, None, None, 0) for member in range(3)
    ]


def test_candidate_whom_nobody_ranked_comes_last_without_a_score() -> None:
    found = standings([ballot(1, 2), ballot(1, 2), unusable(0, 1, 2)], [0, 1, 2])
    assert [(s.member, s.place, s.borda) for s in found] == [(1, 1, 1.0), (2, 2, 0.0), (0, 3, None)]


BALLOTS = st.lists(st.permutations(range(5)), min_size=1, max_size=6)


@given(BALLOTS, st.permutations(range(5)))
def test_renumbering_the_candidates_renumbers_the_standings(
    orders: list[list[int]], names: list[int]
) -> None:
    found = standings([ballot(*order) for order in orders], range(5))
    renamed = standings([ballot(*(names[member] for member in order)) for order in orders], range(5))
    assert scores(renamed) == {names[member]: score for member, score in scores(found).items()}
    places = {standing.member: standing.place for standing in found}
    assert {names[member]: place for member, place in places.items()} == {s.member: s.place for s in renamed}


@given(BALLOTS)
def test_reversing_all_ballots_reverses_the_standings(orders: list[list[int]]) -> None:
    found = scores(standings([ballot(*order) for order in orders], range(5)))
    turned = standings([ballot(*reversed(order)) for order in orders], range(5))
    turned_bordas = [standing.borda for standing in turned]
    assert turned_bordas == pytest.approx(
        sorted((1 - (found[s.member][0] or 0) for s in turned), reverse=True)
    )
    assert [1 - (found[s.member][0] or 0) for s in turned] == pytest.approx(turned_bordas)
