"""Our records behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing

import pytest

from martlet import records


class Pair(records.NamedTuple):
    """Two."""

    first: int
    second: str = "b"

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"


class StandardPair(typing.NamedTuple):
    first: int
    second: str = "b"


@records.dataclass
class Box:
    """Something that changes."""

    name: str
    items: list[int] = records.field(default_factory=list)
    size: int = 3

    @property
    def count(self) -> int:
        return len(self.items)


@dataclasses.dataclass
class StandardBox:
    name: str
    items: list[int] = dataclasses.field(default_factory=list)
    size: int = 3


@records.dataclass(frozen=True)
class Key:
    a: int
    b: str = ""


@records.dataclass
class Checked:
    a: int
    b: int = 0

    def __post_init__(self) -> None:
        self.b = self.a + 1


def test_named_tuples_are_made_and_taken_apart_as_the_standard_ones() -> None:
    pair, standard = Pair(1), StandardPair(1)
    assert pair == standard == (1, "b")
    assert hash(pair) == hash(standard)
    first, second = pair
    assert (first, second, pair.first, pair.second, pair.both) == (1, "b", 1, "b", "1b")
    assert Pair._fields == StandardPair._fields
    assert pair._asdict() == standard._asdict()
    assert pair._replace(second="c") == Pair(second="c", first=1) == Pair._make([1, "c"])
    assert repr(pair) == repr(standard).replace("StandardPair", "Pair")
    assert Pair.__doc__ == "Two."
    assert pickle.loads(pickle.dumps(pair)) == copy.deepcopy(pair) == pair
    assert type(copy.copy(pair)) is Pair
    match pair:
        case Pair(a, second=b):
            assert (a, b) == (1, "b")


@pytest.mark.parametrize("arguments", [(), (1, "b", 3)])
def test_named_tuples_refuse_what_does_not_fit(arguments: tuple[object, ...]) -> None:
    for kind in (Pair, StandardPair):
        with pytest.raises(TypeError):
            kind(*arguments)
    with pytest.raises(TypeError):
        Pair(1)._replace(third=3)
    with pytest.raises(AttributeError):
        Pair(1).first = 2  # type: ignore[misc]


def test_dataclasses_are_filled_as_the_standard_ones() -> None:
    box, standard = Box("x"), StandardBox("x")
    assert vars(box) == vars(standard)
    assert box.items is not Box("x").items  # each has its own
    box.items.append(1)
    assert box.count == 1
    assert box != Box("x")
    assert box == Box("x", [1], size=3)
    assert box != standard
    assert repr(box) == repr(StandardBox("x", [1])).replace("StandardBox", "Box")
    assert records.replace(box, size=4) == Box("x", [1], 4)
    assert Checked(1).b == 2
    assert pickle.loads(pickle.dumps(box)) == copy.deepcopy(box) == box
    with pytest.raises(TypeError, match="unhashable"):
        hash(box)
    with pytest.raises(TypeError, match="name"):
        Box()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        records.replace(box, other=1)  # type: ignore[call-arg]


def test_frozen_dataclasses_are_keys_and_do_not_change() -> None:
    key = Key(1)
    assert {key: 1}[Key(1, "")] == 1
    assert records.replace(key, b="c") == Key(1, "c")
    with pytest.raises(AttributeError, match="Key does not change: a"):
        key.a = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del key.a


def test_the_standard_library_knows_them() -> None:
    box = Box("x", [1])
    assert dataclasses.is_dataclass(box)
    assert [f.name for f in dataclasses.fields(box)] == ["name", "items", "size"]
    assert dataclasses.asdict(box) == {"name": "x", "items": [1], "size": 3}
    assert dataclasses.replace(box, size=5) == Box("x", [1], 5)
