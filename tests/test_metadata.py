"""Labels and other texts for people: what is read, and what is no number in front of a label."""

import pytest

from martlet.metadata import parse_labels


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"cat\ndog\n", ["cat", "dog"]),
        (b"0 cat\r\n1 dog\r\n", ["cat", "dog"]),
        (b"2: cat\n0: dog", ["dog", "", "cat"]),
        (b"1000000 cat\n0 dog", ["1000000 cat", "0 dog"]),
        ("\u00b2 cat\n\u00b3 dog".encode(), ["\u00b2 cat", "\u00b3 dog"]),
        (b"9" * 5000 + b" cat", ["9" * 5000 + " cat"]),
        (b"", []),
    ],
)
def test_numbers_in_front_of_labels_are_taken_off_where_they_count_the_lines(content, labels):
    assert parse_labels(content) == labels
