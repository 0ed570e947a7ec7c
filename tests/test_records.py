"""Records behave as the dataclasses that they stand for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import pytest

from pktfilter.records import recordclass


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


@recordclass(frozen=True, slots=True)
class Other:
    a: int
    b: str


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


def test_only_frozen_ones_are_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        {Point(1)}
    assert len({Key(1, "b"), Key(1, "b"), Key(2, "b")}) == 2
    assert Key(1, "b") != Other(1, "b")


def test_they_are_matched_copied_and_pickled() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    for value in (Point(1, 2, "n"), Key(1, "b")):
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value
        assert type(value).__doc__ is None or type(value).__doc__ == "A point."
