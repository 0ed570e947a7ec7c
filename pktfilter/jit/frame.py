"""The stack frame of one function: what others can reach of it, and what is the function's alone.

Terms
  slot     eight aligned bytes below r10; slot k starts at r10 - 8k
  exposed  reached through an address that the function made: given to a helper, or kept somewhere

Slots that are not exposed are allocas of their own, which LLVM makes values of; the exposed part is one
block, zeroed as far down as it goes. A helper reaches upward from the address it is given and forgets
it; once an address goes anywhere else, the whole frame is exposed.
"""

from __future__ import annotations

from .._core.native import LAYOUT

STACK_FRAME = LAYOUT["stack.frame"]
#: A reach that ends at the frame's upper end.
UPWARD = STACK_FRAME


class Frame:
    """Collects the uses of a frame while a function is written; `lines` lays it out."""

    def __init__(self) -> None:
        self._slots: set[int] = set()
        self._exposed: list[tuple[int, int]] = []
        self._escaped = False

    def expose(self, off: int, reach: int | None) -> None:
        """An address at r10 + off is made, for `reach` bytes from there; None: for anything."""
        if reach is None:
            self._escaped = True
        else:
            self._exposed.append((off, min(off + reach, 0)))

    def address(self, off: int, size: int) -> tuple[str, int]:
        """Where the function's own access of `size` bytes goes: a name and an offset from it."""
        slot = (-off + 7) // 8
        if slot < 1 or off + size > 8 - 8 * slot:
            self.expose(off, size)
            return "%top", off
        self._slots.add(slot)
        return f"%slot{slot}", off + 8 * slot

    def _is_exposed(self, slot: int) -> bool:
        start = -8 * slot
        return self._escaped or any(low < start + 8 and start < high for low, high in self._exposed)

    def lines(self) -> list[str]:
        """The text that makes the frame at the function's entry."""
        exposed = [slot for slot in sorted(self._slots) if self._is_exposed(slot)]
        # Whoever makes an address gets one that is not null, be it only of the frame's upper end.
        depth = max(
            [
                1 if self._exposed else 0,
                *(8 * slot for slot in exposed),
                *(-low for low, _ in self._exposed),
            ]
        )
        used = STACK_FRAME if self._escaped else min(STACK_FRAME, depth + 15 & ~15)
        out = ["  %top = inttoptr i64 0 to ptr"]
        if used:
            out = [
                f"  %stack = alloca [{used} x i8], align 16",
                f"  call void @llvm.memset.p0.i64(ptr align 16 %stack, i8 0, i64 {used}, i1 false)",
                f"  %top = getelementptr i8, ptr %stack, i64 {used}",
            ]
        for slot in sorted(self._slots):
            if slot in exposed:
                out.append(f"  %slot{slot} = getelementptr i8, ptr %top, i64 {-8 * slot}")
            else:
                out.append(f"  %slot{slot} = alloca i64")
                out.append(f"  store i64 0, ptr %slot{slot}")
        return out
