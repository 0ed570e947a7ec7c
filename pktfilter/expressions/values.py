"""What the translator knows while it writes code: proved bytes, and bounds of A, X and memory.

At a place where paths join, the weakest of what each knows.
"""

from __future__ import annotations

from .cbpf import MEMORY_WORDS, WORD, Step
from .flow import Flow, changes_x

_TOP = (0, 0, -1, WORD, WORD, (WORD,) * MEMORY_WORDS)
_State = tuple[int, int, int, int, int, tuple[int, ...]]


class Values:
    """The state at the instruction being translated; `enter` and `leave` move it along.

    `proved`: bytes from data that are there. `x_proved`: bytes from data + X, through the pointer kept
    for it; `x_room`: how many could be proved through it (-1: there is none). `a_max`, `x_max` and
    `words`: upper bounds.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._waiting: dict[int, _State] = {0: (0, 0, -1, 0, 0, (0,) * MEMORY_WORDS)}
        self._differing: set[int] = set()
        #: Whether paths with different proofs of packet bytes join here.
        self.differ = False
        self.proved, self.x_proved, self.x_room = 0, 0, -1
        self.a_max, self.x_max = 0, 0
        self.words: tuple[int, ...] = (0,) * MEMORY_WORDS

    def enter(self, at: int) -> None:
        """Before the instruction at this place: what all that go there know."""
        state = self._waiting.pop(at, _TOP)
        self.differ = at in self._differing
        if self._flow.loops and at in self._flow.targets:
            state = _TOP
        self.proved, self.x_proved, self.x_room, self.a_max, self.x_max, self.words = state

    def forget(self) -> None:
        """No packet bytes are proved."""
        self.proved, self.x_proved, self.x_room = 0, 0, -1

    def leave(self, at: int) -> None:
        """After its code is written, before that of its jumps."""
        step = self._flow.steps[at]
        self._apply(step)
        now = (self.proved, self.x_proved, self.x_room, self.a_max, self.x_max, self.words)
        for target in step.after:
            if target <= at:
                continue
            old = self._waiting.get(target)
            if old is not None and old[:3] != now[:3]:
                self._differing.add(target)
            self._waiting[target] = now if old is None else _join(old, now)

    def _apply(self, step: Step) -> None:
        if step.op == "st":
            words = list(self.words)
            words[step.k] = self.a_max if step.to == "A" else self.x_max
            self.words = tuple(words)
        elif changes_x(step):
            self.x_max = self._bound(step)
            self.x_proved, self.x_room = 0, -1
        else:
            self.a_max = self._bound(step)

    def _bound(self, step: Step) -> int:
        """The largest that what the instruction makes can be."""
        operand = self.x_max if step.by_x else step.k
        bounds = {
            "imm": step.k,
            "len": WORD,
            "mem": self.words[step.k & 15],
            "msh": 60,
            "tax": self.a_max,
            "txa": self.x_max,
            "abs": (1 << 8 * step.size) - 1,
            "ind": (1 << 8 * step.size) - 1,
            "and": min(self.a_max, operand),
            "add": self.a_max + operand,
            "mul": self.a_max * operand,
            "rsh": self.a_max if step.by_x else self.a_max >> step.k,
            "lsh": WORD if step.by_x or step.k > 31 else self.a_max << step.k,
            "div": self.a_max,
            "mod": self.a_max,
        }
        if step.op in ("ja", "jeq", "jgt", "jge", "jset"):
            return self.a_max
        return bounds.get(step.op, WORD) if bounds.get(step.op, WORD) <= WORD else WORD


def _join(one: _State, other: _State) -> _State:
    proved, x_proved, room, a, x, words = one
    return (
        min(proved, other[0]),
        min(x_proved, other[1]),
        min(room, other[2]),
        max(a, other[3]),
        max(x, other[4]),
        words if words == other[5] else tuple(map(max, words, other[5])),
    )
