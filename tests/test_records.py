"""Records behave as the dataclasses that they stand for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, is_dataclass, replace

import pytest

from pktfilter.records import field, recordclass


@recordclass(slots=True)
class Point:
    """A point."""

    x: int
    y: int = 0
    name: str = ""

    @property
    def both(self) -> tuple[int, int]:
        return self.x, self.y


@dataclass(slots=True)
class Model:
    x: int
    y: int = 0
    name: str = ""


@recordclass(frozen=True, slots=True)
class Key:
    a: int
    b: str


@recordclass(frozen=True)
class Other:
    a: int
    b: str


@recordclass()
class Loose:
    one: int
    many: list[int] = field(default_factory=list)
    point: Point | None = None


@pytest.mark.parametrize("arguments", [(1,), (1, 2), (1, 2, "p")])
def test_it_is_made_and_shown_as_a_dataclass(arguments: tuple[object, ...]) -> None:
    mine, model = Point(*arguments), Model(*arguments)  # type: ignore[arg-type]
    assert repr(mine) == repr(model).replace("Model", "Point")
    assert (mine.x, mine.y, mine.name) == (model.x, model.y, model.name)
    assert mine.both == (mine.x, mine.y)
    assert mine == Point(x=mine.x, y=mine.y, name=mine.name)
    assert mine != model
    mine.x = 9
    assert mine != Point(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [(), (1, 2, "p", 4)])
def test_it_takes_its_fields_and_no_others(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="argument"):
        Point(*arguments)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_defaults_are_made_anew() -> None:
    first, second = Loose(1), Loose(1)
    assert first == second
    first.many.append(3)
    assert second.many == [] and first != second
    given: list[int] = []
    assert Loose(1, given).many is given
    first.extra = 1  # type: ignore[attr-defined]
    assert vars(first) == {"one": 1, "many": [3], "point": None, "extra": 1}


@pytest.mark.parametrize("value", [Key(1, "b"), Other(1, "b")])
def test_frozen_ones_stay_as_they_are(value: Key | Other) -> None:
    with pytest.raises(FrozenInstanceError):
        value.a = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del value.a
    assert value.a == 1


def test_dataclasses_functions_take_them() -> None:
    value = Loose(1, [2], Point(3))
    assert is_dataclass(value) and is_dataclass(Point)
    assert asdict(value) == {"one": 1, "many": [2], "point": {"x": 3, "y": 0, "name": ""}}
    assert [f.name for f in fields(Loose)] == ["one", "many", "point"]
    assert replace(value, one=5) == Loose(5, [2], Point(3))
    assert replace(Key(1, "b"), b="c") == Key(1, "c")


def test_only_frozen_ones_are_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        {Point(1)}
    assert len({Key(1, "b"), Key(1, "b"), Key(2, "b")}) == 2
    assert Key(1, "b") != Other(1, "b")


def test_they_are_matched_copied_and_pickled() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    for value in (Point(1, 2, "n"), Key(1, "b"), Other(1, "b"), Loose(1, [2])):
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value
        assert type(value).__doc__ is None or type(value).__doc__ == "A point."
