"""What is known of a classic BPF program before it is translated: paths, packet bytes, first values.

Jumps go forward, so that one pass in each direction is exact. Of a program with loops less is known:
its instructions count for themselves.

Invariants
  W1 `need[n]`: every path from n that accepts loads the first `need[n]` bytes of the packet, so a
     packet shorter than that is rejected from n on, whatever it holds. Checking it early changes no
     result.
  W2 `need_x[n]`: the same for bytes counted from X as it is at n.
  W3 `dead[n]`: every path from n rejects. `reached` holds no instruction behind a dead one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .cbpf import WORD, Step, has_loop

#: The verifier, as Linux's, proves no more bytes of a packet than this (MAX_PACKET_OFF).
REACH = 0xFFFF


class Flow:
    """The analysis of one program; lists are by instruction."""

    def __init__(self, steps: Sequence[Step]) -> None:
        count = len(steps)
        self.steps = steps
        self.loops = has_loop(steps)
        self.dead = [False] * count
        self.need = [0] * count
        self.need_x = [0] * count
        self.reached = [False] * count
        #: Where jumps go, fallen into or not.
        self.targets: set[int] = set()


def analyse(steps: Sequence[Step]) -> Flow:
    """All of it; `steps` of the result are plain jumps where a comparison is always one way."""
    steps = [_settled(step) for step in steps]
    flow = Flow(steps)
    for at in reversed(range(len(steps))):
        _needs(flow, at)
    work = [0]
    while work:
        at = work.pop()
        if flow.reached[at]:
            continue
        flow.reached[at] = True
        if flow.dead[at]:
            continue
        after = steps[at].after
        work += after
        if after != (at + 1,):
            flow.targets.update(after)
    return flow


def _settled(step: Step) -> Step:
    if step.by_x or not step.branches:
        return step
    if step.op == "jge" and step.k == 0:
        return step._replace(op="ja", jf=step.jt)
    if (step.op, step.k) in (("jgt", WORD), ("jset", 0)):
        return step._replace(op="ja", jt=step.jf)
    return step


def _needs(flow: Flow, at: int) -> None:
    step = flow.steps[at]
    end = step.k + step.size if step.reads_packet else 0
    fails = (
        (step.op == "ret" and not step.by_x and step.k == 0)
        or end > REACH
        or (step.op in ("div", "mod") and not step.by_x and step.k == 0)
    )
    after = () if flow.loops else step.after
    if fails or (after and all(flow.dead[target] for target in after)):
        flow.dead[at] = True
        return
    alive = [target for target in after if not flow.dead[target]]
    flow.need[at] = min((flow.need[target] for target in alive), default=0)
    if not changes_x(step):
        flow.need_x[at] = min((flow.need_x[target] for target in alive), default=0)
    if step.op == "ind":
        flow.need_x[at] = max(flow.need_x[at], end)
    elif end:
        flow.need[at] = max(flow.need[at], end)


def changes_x(step: Step) -> bool:
    """Whether X is another one afterwards."""
    return step.op == "tax" or (step.to == "X" and step.op in ("imm", "len", "mem", "msh"))


def changes_a(step: Step) -> bool:
    """Whether A is another one afterwards."""
    if step.op in ("abs", "ind", "imm", "len", "mem"):
        return step.to == "A"
    return step.op == "txa" or computes(step)


def computes(step: Step) -> bool:
    """Whether it is arithmetic: A and an operand into A."""
    return step.op in ("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor")


def reads(step: Step) -> set[str]:
    """Which of "A", "X" and the words "M0" to "M15" it reads."""
    out = set()
    if step.op in ("tax", "ret") and (step.op == "tax" or step.by_x):
        out.add("A")
    if computes(step) or step.branches:
        out.add("A")
        if step.by_x:
            out.add("X")
    if step.op in ("ind", "txa"):
        out.add("X")
    if step.op == "st":
        out.add(step.to)
    if step.op == "mem":
        out.add(f"M{step.k}")
    return out


def writes(step: Step) -> str | None:
    """Which of them it writes."""
    if changes_x(step):
        return "X"
    if changes_a(step):
        return "A"
    return f"M{step.k}" if step.op == "st" else None


def forward(flow: Flow, visit: Callable[[int, list[int]], None]) -> None:
    """Calls visit(n, those before n that run) for every instruction that runs, in order. No loops."""
    before: dict[int, list[int]] = {}
    for at, step in enumerate(flow.steps):
        if not flow.reached[at]:
            continue
        visit(at, before.pop(at, []))
        if not flow.dead[at]:
            for target in step.after:
                before.setdefault(target, []).append(at)


def read_before_written(flow: Flow) -> set[str]:
    """What some path may read before it wrote it: these start as 0."""
    unset: set[str] = set()
    if flow.loops:
        for at, step in enumerate(flow.steps):
            if flow.reached[at]:
                unset |= reads(step)
        return unset
    written: list[frozenset[str]] = [frozenset()] * len(flow.steps)

    def visit(at: int, before: list[int]) -> None:
        step = flow.steps[at]
        known = frozenset.intersection(*(written[p] for p in before)) if before else frozenset()
        if not flow.dead[at]:
            unset.update(reads(step) - known)
        out = writes(step)
        written[at] = known if out is None else known | {out}

    forward(flow, visit)
    return unset
