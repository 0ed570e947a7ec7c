"""Links against a small model in Python: any sequence of changes gives what the model gives."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import pktfilter as pf

PROGRAMS, BAD = 4, 4  # the program at BAD fits no hook


def make(number: int) -> pf.Program:
    code = struct.pack("<BBhiQ", 0xB7, 0, 0, number % 5, 0x95)
    return pf.Program.from_bytes(code, name=f"p{number}", type="memory" if number == BAD else "xdp")


@dataclass
class Row:
    generation: int
    restores: int
    program: int | None
    cause: str


@dataclass
class ModelLink:
    hook: int
    priority: int
    keep: int
    id: int = 0
    program: int | None = None
    generation: int = 0
    rows: list[Row] = field(default_factory=list)


@dataclass
class Model:
    """What docs/links.md says, in the plainest way."""

    links: list[ModelLink] = field(default_factory=list)
    generation: int = 0
    publications: int = 0
    last_id: int = 0

    def commit(self, ops: list[tuple[Any, ...]]) -> type[pf.LinkError] | None:
        """Applies all or, returning the error, none."""
        saved = copy.deepcopy(self.__dict__)
        staged: dict[int, Row] = {}
        for op in ops:
            error = self._apply(op, staged)
            if error is not None:
                self.__dict__.update(saved)
                return error
        if staged:
            self.generation += 1
            self.publications += 1
        for index, row in staged.items():
            link = self.links[index]
            link.generation, link.program = row.generation, row.program
            link.rows = [*link.rows, row][-link.keep :]
        return None

    def _apply(self, op: tuple[Any, ...], staged: dict[int, Row]) -> type[pf.LinkError] | None:
        verb, index, *rest = op
        link = self.links[index]
        row = staged.get(index)
        now = link.program if row is None else row.program
        generation = link.generation + (row is not None)
        number = link.generation + 1
        if verb == "attach":
            if rest[0] == BAD:
                return pf.IncompatibleProgram
            self.last_id += 1
            link.id = self.last_id
            staged[index] = Row(number, number, rest[0], "attach")
            return None
        if verb == "detach":
            if now is not None:
                staged[index] = Row(number, number, None, "detach")
            return None
        target, expect, expect_generation = rest
        if now is None:
            return pf.LinkDetached
        if expect is not None and expect != now:
            return pf.StaleProgram
        if expect_generation is not None and expect_generation != generation:
            return pf.StaleGeneration
        restores = number
        if verb == "rollback":
            found = self._find(link, row, now, target)
            if found is None:
                return pf.NoSuchGeneration
            target, restores = found.program, found.generation
        elif target == BAD:
            return pf.IncompatibleProgram
        if target != now:
            staged[index] = Row(number, restores, target, verb)
        return None

    def _find(self, link: ModelLink, row: Row | None, now: int, to: int | None) -> Row | None:
        base = (row or link.rows[-1]).restores
        for old in reversed(link.rows):
            if old.program is None:
                continue
            if old.generation == to or (
                to is None and old.generation < base and old.program != now
            ):
                return old
        return None


expects = st.none() | st.integers(0, PROGRAMS - 1)
changes = st.tuples(
    st.sampled_from(["update", "update", "update", "rollback", "rollback", "detach", "attach"]),
    st.integers(0, 30),
    st.integers(0, BAD),
    expects,
    st.sampled_from([None, None, None, 0, 0, 1, -1]),
    st.integers(0, 12),
)


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.datapath = pf.Datapath()
        self.hooks = [self.datapath.hook("a"), self.datapath.hook("b")]
        self.programs = [make(i) for i in range(PROGRAMS + 1)]
        self.links: list[pf.Link] = []
        self.model = Model()
        self.start = self.datapath.revision
        self.attach(0, 50, 8, 0)

    def _new(self, hook: int, priority: int, keep: int) -> int:
        self.model.links.append(ModelLink(hook, priority, keep))
        return len(self.model.links) - 1

    def _do(self, ops: list[tuple[Any, ...]]) -> None:
        """The same changes to the links."""
        for verb, index, *rest in ops:
            if verb == "attach":
                m = self.model.links[index]
                new = self.hooks[m.hook].attach(
                    self.programs[rest[0]], priority=m.priority, history=m.keep
                )
                self.links.append(new)
                continue
            link = self.links[index]
            if verb == "detach":
                link.detach()
                continue
            target, expect, generation = rest
            options: dict[str, Any] = {"expect_generation": generation}
            if expect is not None:
                options["expect"] = self.programs[expect]
            if verb == "update":
                update = link.update(self.programs[target], **options)
            else:
                update = link.rollback(to=target, **options)
            if isinstance(update, pf.Update):
                assert update.generation == link.generation
                assert update.new is link.program

    def _both(self, ops: list[tuple[Any, ...]], together: bool, interrupted: bool = False) -> None:
        count = len(self.links)
        want = None if interrupted else self.model.commit(ops)
        got: type[BaseException] | None = None
        try:
            if together:
                with pf.transaction():
                    self._do(ops)
                    if interrupted:
                        raise KeyError
            else:
                self._do(ops)
        except (pf.LinkError, KeyError) as error:
            got = type(error)
        assert got is (KeyError if interrupted else want)
        if got is not None:  # the links that were to be attached never were
            assert all(link.state == "initial" for link in self.links[count:])
            del self.links[count:], self.model.links[count:]

    @rule(
        hook=st.integers(0, 1),
        priority=st.integers(48, 52),
        keep=st.integers(1, 6),
        program=st.integers(0, BAD),
    )
    def attach(self, hook: int, priority: int, keep: int, program: int) -> None:
        if len(self.model.links) < 6:
            self._both([("attach", self._new(hook, priority, keep), program)], False)

    def _op(self, change: tuple[Any, ...], attached: int) -> tuple[Any, ...]:
        verb, which, program, expect, generation, to = change
        if verb == "attach" and len(self.model.links) < 8:
            return ("attach", self._new(which % 2, 50 + which % 3, 1 + to % 5), program)
        index = which % attached
        if verb in ("detach", "attach"):
            return ("detach", index)
        if generation is not None:
            generation = max(1, self.model.links[index].generation + generation)
        if verb == "update":
            return ("update", index, program, expect, generation)
        return ("rollback", index, to or None, expect, generation)

    @rule(change=changes)
    def change(self, change: tuple[Any, ...]) -> None:
        if self.links and change[0] != "attach":
            self._both([self._op(change, len(self.links))], False)

    @rule(programs=st.lists(st.integers(0, PROGRAMS - 1), max_size=4), back=st.integers(1, 4))
    def there_and_back(self, programs: list[int], back: int) -> None:
        last = len(self.links) - 1
        for program in programs:
            self._both([("update", last, program, None, None)], False)
        for _ in range(back):
            self._both([("rollback", last, None, None, None)], False)

    @rule(changes=st.lists(changes, max_size=5), interrupted=st.integers(0, 5))
    def transaction(self, changes: list[tuple[Any, ...]], interrupted: int) -> None:
        attached = len(self.links)
        if attached:
            ops = [self._op(change, attached) for change in changes]
            self._both(ops, True, interrupted == 0)

    @rule(which=st.integers(0, 30), keep=st.integers(1, 6))
    def keep(self, which: int, keep: int) -> None:
        if self.links:
            index = which % len(self.links)
            self.links[index].keep(keep)
            self.model.links[index].keep = keep
            self.model.links[index].rows = self.model.links[index].rows[-keep:]

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.datapath.generation == self.model.generation
        assert self.datapath.revision == self.start + self.model.publications
        assert self.datapath.worlds_live == 1
        for link, m in zip(self.links, self.model.links, strict=True):
            program = None if m.program is None else self.programs[m.program]
            assert (link.id, link.program, link.generation) == (m.id, program, m.generation)
            assert link.state == ("detached" if program is None else "attached")
            rows = [(r.generation, r.restores, r.program, r.cause) for r in link.history]
            assert rows == [
                (r.generation, r.restores, None if r.program is None else self.programs[r.program], r.cause)
                for r in m.rows
            ]  # fmt: skip
        for number, hook in enumerate(self.hooks):
            chain = sorted(
                (m.priority, m.id)
                for m in self.model.links
                if m.hook == number and m.program is not None
            )
            assert [(link.priority, link.id) for link in hook.links] == chain


Machine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestLinksAgainstTheModel = Machine.TestCase
