"""What the answer says of near-duplicates: their names and shares, and nothing where there are none."""

from __future__ import annotations

from megadocs.analysis import near_duplicate_sentences


def pair(first: str, second: str, share: float = 0.87) -> dict:
    return {"documents": [first, second], "share": share}


def test_pairs_on_two_sides_are_named_with_the_remedy() -> None:
    (said,) = near_duplicate_sentences({"near_duplicates": {"across": [pair("a.txt", "b.txt")], "together": []}})
    assert said == (
        "1 pair of near-duplicate documents is on both sides of the split (a.txt and b.txt share 87 %): the losses of "
        "these held-out documents measure memory; put such pairs on one side with corpus.near_duplicates=together, or "
        "leave one of each out."
    )


def test_pairs_on_one_side_are_said_and_many_are_counted() -> None:
    many = [pair(f"a{number}", f"b{number}") for number in range(5)]
    (said,) = near_duplicate_sentences({"near_duplicates": {"across": [], "together": many}})
    assert said.startswith("5 pairs of near-duplicate documents are kept on one side of the split")
    assert said.endswith("a2 and b2 share 87 % and 2 more).")
    (said,) = near_duplicate_sentences({"near_duplicates": {"across": [], "together": many[:3]}})
    assert said.endswith("a1 and b1 share 87 % and a2 and b2 share 87 %).")


def test_nothing_is_said_of_nothing() -> None:
    assert near_duplicate_sentences({"near_duplicates": {"across": [], "together": []}}) == []
    assert near_duplicate_sentences({}) == []
