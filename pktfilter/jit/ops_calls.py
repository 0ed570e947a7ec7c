"""Calls: helpers, subprograms, callbacks, tail calls."""

from __future__ import annotations

from collections.abc import Callable

from .._core.native import LAYOUT
from .._core.tables import HELPERS, MAP_TYPES
from ..errors import CompileError
from .emit import EXEC, RARELY, UNPREDICTABLE, Emitter
from .flow import Function, step, target
from .frame import UPWARD
from .ops_alu import Handler
from .unit import Insn, MapConstants

LENGTH = "length"  # of the packet, where a lean program asks for it
LOOP_MAX = 1 << 23  # csrc/helper/control.c: LOOP_MAX
E2BIG, EINVAL = 7, 22
BY_NUMBER = {helper.number: helper for helper in HELPERS}
NUMBER = {helper.name: helper.number for helper in HELPERS}
#: bpf_trace_printk takes as many more as its format wants.
_EXTRA = {NUMBER["trace_printk"]: 5}
_FAMILIES = {row.name: row.family for row in MAP_TYPES}
#: Calls of what helper.def describes: `imm` is the row's number.
ROWS = ("CALL_HELPER", "CALL_KFUNC")
#: Kinds of arguments whose memory has a size of its own, in bytes.
_FIXED = {
    "MEM_UPDATE_4": 4,
    "MEM_READ_20": 20,
    "MEM_READ_40": 40,
    "OUT_16": 2,
    "OUT_32": 4,
    "OUT_64": 8,
}
#: Kinds of arguments whose memory the helper reaches upward from the address, and forgets.
_BOUNDED = (
    "MAP_KEY",
    "MAP_VALUE",
    "MAP_VALUE_OUT",
    "MEM_READ",
    "MEM_READ_OR_NULL",
    "MEM_WRITE",
    "MEM_UPDATE",
    "MEM_UPDATE_OR_NULL",
    "ANYTHING",
    *_FIXED,
)
_SIZES = {"MAP_KEY": "key_size", "MAP_VALUE": "value_size", "MAP_VALUE_OUT": "value_size"}
CLOCKS = ("ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns", "ktime_get_tai_ns")


def arguments(insn: Insn) -> int:
    """How many registers a call reads."""
    if insn.name not in ROWS:
        return 5
    helper = BY_NUMBER.get(insn.imm)
    return _EXTRA.get(insn.imm, len(helper.args) if helper else 5)


def _reach(e: Emitter, kind: str, reg: int) -> int | None:
    """Bytes from the address in an argument that the helper uses; None: it may go anywhere."""
    if kind not in _BOUNDED:
        return None
    if kind in _FIXED:
        return _FIXED[kind]
    found = _map_of(e, 1)
    if kind in _SIZES and found is not None:
        return int(getattr(found[1], _SIZES[kind]))
    size = e.state[reg + 1] if kind.startswith("MEM") else None
    if size is not None and size[0] == "const":
        return min(size[1] & 0xFFFFFFFF, UPWARD)
    return UPWARD


def _plain(e: Emitter, insn: Insn) -> str:
    """The helper's C function."""
    helper = BY_NUMBER.get(insn.imm)
    if helper is None or not helper.supported:
        raise CompileError("no such helper or kernel function", insn=insn.at, found=insn.imm)
    passed = []
    for n in range(5):
        if n >= arguments(insn):
            passed.append("i64 undef")
            continue
        kind = helper.args[n] if n < len(helper.args) else "ANYTHING"
        passed.append(f"i64 {e.get(n + 1, reach=_reach(e, kind, n + 1))}")
    return e.let(f"call i64 {e.shape.helper(insn.imm)}(ptr %x, {', '.join(passed)})")


def _cpu(e: Emitter, _: Insn) -> str:
    return e.let("zext i32 %cpu to i64")


def _clock(_e: Emitter, _: Insn) -> str:
    return "%time"


def _length(e: Emitter, insn: Insn) -> str:
    return f"%ctx.{LENGTH}" if e.shape.lean else _plain(e, insn)


def _map_of(e: Emitter, reg: int) -> tuple[int, MapConstants] | None:
    symbol = e.known(reg)
    if symbol is None or symbol[0] != "map":
        return None
    return symbol[1], e.shape.unit.maps[symbol[1]]


def _lookup(e: Emitter, insn: Insn) -> str:
    """Arrays here, hash maps and prefix tries by their own function, others by the helper."""
    found = _map_of(e, 1)
    if found is None:
        return _plain(e, insn)
    place, m = found
    family = _FAMILIES[m.type]
    if family == "ARRAY":
        return _array_lookup(e, place, m)
    if m.word is not None:
        return _word_lookup(e, place, m, m.word)
    if family in ("HASH", "LPM") and m.type != "devmap_hash":
        return _direct_lookup(e, place, m.key_size)
    return _plain(e, insn)


def _guarded(e: Emitter, condition: str, value: Callable[[], str]) -> str:
    """`condition ? value : 0`, with the value made only where it is true."""
    there, out, here = e.label("have"), e.label("done"), e.label("test")
    e.do(f"br label %{here}")
    e.begin(here)
    e.do(f"br i1 {condition}, label %{there}, label %{out}")
    e.begin(there)
    made = value()
    e.do(f"br label %{out}")
    e.begin(out)
    return e.let(f"phi i64 [ {made}, %{there} ], [ 0, %{here} ]")


def _array_lookup(e: Emitter, place: int, m: MapConstants) -> str:
    index = e.load(2, 0, 4)
    condition = e.let(f"icmp ult i32 {index}, {m.max_entries}")
    if m.percpu:
        # A map made for fewer CPUs than the worker's id has no value for it (map.h, pf_map_has_cpu).
        own = e.let(f"icmp ult i32 %cpu, {m.cpus}")
        condition = e.let(f"and i1 {condition}, {own}")

    def value() -> str:
        # Index and CPU are in range, so the sums stay inside the arena: they cannot wrap.
        wide = e.let(f"zext i32 {index} to i64")
        offset = e.let(f"mul nuw i64 {wide}, {m.stride}")
        if m.percpu:
            cpu = e.let("zext i32 %cpu to i64")
            offset = e.let(f"add nuw i64 {offset}, {e.let(f'mul nuw i64 {cpu}, {m.cpu_step}')}")
        base = f"ptrtoint (ptr {e.shape.map_values(place)} to i64)"
        return e.let(f"add nuw i64 {base}, {offset}")

    return _guarded(e, condition, value)


def _word_hash(e: Emitter, key: str, add: int) -> str:
    """pf_hash_word."""
    word = e.let(f"add i32 {key}, {add}")
    for shift, factor in ((16, LAYOUT["hash.word_1"]), (15, LAYOUT["hash.word_2"]), (16, None)):
        word = e.let(f"xor i32 {word}, {e.let(f'lshr i32 {word}, {shift}')}")
        if factor is not None:
            word = e.let(f"mul i32 {word}, {factor}")
    return word


def _word_lookup(e: Emitter, place: int, m: MapConstants, word: tuple[int, int]) -> str:
    """The lookup of csrc/map/bucket.h, step by step; the map's own decides what this one leaves open."""
    add, mask = word
    slots = LAYOUT["bucket.slots"]
    key = e.load(2, 0, 4)
    hash_ = _word_hash(e, key, add)
    wide = e.let(f"zext i32 {e.let(f'and i32 {hash_}, {mask}')} to i64")
    far = e.let(f"mul nuw i64 {wide}, {LAYOUT['sizeof.bucket']}")
    bucket = e.let(f"getelementptr i8, ptr {e.shape.map_buckets(place)}, i64 {far}")
    vlock = e.let(f"getelementptr i8, ptr {bucket}, i64 {LAYOUT['bucket.vlock']}")
    begin = e.let(f"load atomic i32, ptr {vlock} acquire, align 4")
    # Volatile: it stays between the two looks at vlock.
    hashes = e.let(f"load volatile <8 x i32>, ptr {bucket}, align 32")
    one = e.let(f"insertelement <8 x i32> poison, i32 {hash_}, i32 0")
    all_ = e.let(f"shufflevector <8 x i32> {one}, <8 x i32> poison, <8 x i32> zeroinitializer")
    equal = e.let(f"bitcast <8 x i1> {e.let(f'icmp eq <8 x i32> {hashes}, {all_}')} to i8")
    some = e.let(f"or i8 {equal}, -128")  # the eighth is vlock
    first = e.let(f"call i8 @llvm.cttz.i8(i8 {some}, i1 true)")
    off = e.let(f"shl nuw nsw i64 {e.let(f'zext i8 {first} to i64')}, 2")
    numbers = e.let(f"getelementptr i8, ptr {bucket}, i64 {LAYOUT['bucket.number']}")
    at = e.let(
        f"load atomic i32, ptr {e.let(f'getelementptr i8, ptr {numbers}, i64 {off}')} acquire, align 4"
    )
    end = e.let(f"load atomic i32, ptr {vlock} monotonic, align 4")
    found = e.let(f"icmp ne i32 {at}, 0")
    chained = e.let(f"and i1 {found}, {e.let(f'icmp eq i8 {first}, {slots}')}")
    changed = e.let(f"icmp ugt i32 {e.let(f'xor i32 {begin}, {end}')}, 1")
    open_ = e.let(f"or i1 {chained}, {changed}")
    open_ = e.let(f"or i1 {open_}, {e.let(f'icmp eq i32 {hash_}, 0')}")
    if m.percpu:
        open_ = e.let(f"or i1 {open_}, {e.let(f'icmp uge i32 %cpu, {m.cpus}')}")
    slow, fast, out = e.label("slow"), e.label("fast"), e.label("done")
    e.do(f"br i1 {open_}, label %{slow}, label %{fast}, {RARELY}")
    e.begin(slow)
    own = e.own_word()  # not the program's: its slot can stay a value
    e.do(f"store i32 {key}, ptr {own}")
    lookup = f"{e.shape.map_lookup(place)}(ptr {e.shape.map(place)}, ptr {own}, i32 %cpu)"
    called = e.let(f"ptrtoint ptr {e.let(f'call ptr {lookup}')} to i64")
    e.do(f"br label %{out}")
    e.begin(fast)
    index = e.let(f"zext i32 {e.let(f'add i32 {at}, -1')} to i64")
    offset = e.let(f"mul i64 {index}, {m.stride}")
    if m.percpu:
        cpu = e.let("zext i32 %cpu to i64")
        offset = e.let(f"add i64 {offset}, {e.let(f'mul i64 {cpu}, {m.cpu_step}')}")
    value = e.let(f"add i64 ptrtoint (ptr {e.shape.map_values(place)} to i64), {offset}")
    # Not a branch, which would be wrong for every other flow.
    value = e.let(f"select i1 {found}, i64 {value}, i64 0, {UNPREDICTABLE}")
    e.do(f"br label %{out}")
    e.begin(out)
    return e.let(f"phi i64 [ {called}, %{slow} ], [ {value}, %{fast} ]")


def _direct_lookup(e: Emitter, place: int, size: int) -> str:
    key = e.let(f"inttoptr i64 {e.get(2, reach=size)} to ptr")
    passed = f"ptr {e.shape.map(place)}, ptr {key}, i32 %cpu"
    found = e.let(f"call ptr {e.shape.map_lookup(place)}({passed})")
    return e.let(f"ptrtoint ptr {found} to i64")


def _loop(e: Emitter, insn: Insn) -> str:
    """bpf_loop of a known callback as a loop; the checks and their order are the helper's."""
    callback = e.known(2)
    if callback is None or callback[0] != "func":
        return _plain(e, insn)
    count, context, flags = e.get32(1), e.get(3), e.get(4)
    names = [e.label(hint) for hint in ("count", "range", "head", "body", "next", "out")]
    entry, size, head, body, after, out = names
    e.do(f"br label %{entry}")
    e.begin(entry)
    e.do(f"br i1 {e.let(f'icmp eq i64 {flags}, 0')}, label %{size}, label %{out}")
    e.begin(size)
    e.do(f"br i1 {e.let(f'icmp ule i32 {count}, {LOOP_MAX}')}, label %{head}, label %{out}")
    e.begin(head)
    i, following = e.label("%i"), e.label("%n")
    e.do(f"{i} = phi i32 [ 0, %{size} ], [ {following}, %{after} ]")
    e.do(f"br i1 {e.let(f'icmp ult i32 {i}, {count}')}, label %{body}, label %{out}")
    e.begin(body)
    wide = e.let(f"zext i32 {i} to i64")
    result = e.shape.call(e, callback[1], [wide, context, "0", "0", "0"])
    e.do(f"{following} = add i32 {i}, 1")
    e.do(f"br i1 {e.let(f'icmp eq i64 {result}, 0')}, label %{after}, label %{out}")
    e.begin(after)
    e.do(f"br label %{head}")
    e.begin(out)
    ways = f"[ -{EINVAL}, %{entry} ], [ -{E2BIG}, %{size} ]"
    ran = e.let(f"phi i64 {ways}, [ 0, %{head} ], [ 0, %{body} ]")
    runs = e.let(
        f"phi i32 [ 0, %{entry} ], [ 0, %{size} ], [ {i}, %{head} ], [ {following}, %{body} ]"
    )
    return e.let(f"or i64 {ran}, {e.let(f'zext i32 {runs} to i64')}")


def _tail_call(e: Emitter, _: Insn) -> str:
    """A target that is made runs in this function's place: its result is the result (vm.h, V4)."""
    shape = e.shape
    place = shape.field(e, "exec.prog")
    prog = e.let(f"load ptr, ptr {place}, {EXEC}")
    ctx, passed = e.get(1), f"i64 {e.get(2)}, i64 {e.get(3)}"
    to = e.let(f"call ptr {shape.tail()}(ptr %x, {passed})")
    made, out = e.label("made"), e.label("stay")
    e.do(f"br i1 {e.let(f'icmp eq ptr {to}, null')}, label %{out}, label %{made}")
    e.begin(made)
    result = e.let(f"call i64 {to}(ptr %x, i64 {ctx}, i64 0)")
    e.do(f"store ptr {prog}, ptr {place}, {EXEC}")
    e.do(f"ret i64 {result}")
    e.begin(out)
    return "0"


_INLINE: dict[int, Callable[[Emitter, Insn], str]] = {
    **{NUMBER[name]: _clock for name in CLOCKS},
    NUMBER["get_smp_processor_id"]: _cpu,
    NUMBER["xdp_get_buff_len"]: _length,
    NUMBER["map_lookup_elem"]: _lookup,
    NUMBER["loop"]: _loop,
    NUMBER["tail_call"]: _tail_call,
}


def _helper(e: Emitter, insn: Insn) -> bool:
    e.put(0, _INLINE.get(insn.imm, _plain)(e, insn))
    e.forget_arguments()
    return False


def _local(e: Emitter, insn: Insn) -> bool:
    e.put(0, e.shape.call(e, target(insn), [e.get(n) for n in range(1, 6)]))
    e.forget_arguments()
    return False


HANDLERS: dict[str, Handler] = {
    "CALL_HELPER": _helper,
    "CALL_LOCAL": _local,
    "CALL_KFUNC": _helper,
}


def callbacks(function: Function) -> tuple[set[int], bool]:
    """The functions whose addresses it takes, and whether it calls none but by bpf_loop, as a loop."""
    taken: set[int] = set()
    resolved = True
    for block in function.blocks.values():
        state = list(block.entry)
        for insn in block.insns:
            if insn.name == "LDDW_FUNC":
                taken.add(target(insn))
            if insn.name == "CALL_HELPER" and "FUNC" in BY_NUMBER[insn.imm].args:
                known = state[2]
                resolved &= insn.imm == NUMBER["loop"] and known is not None and known[0] == "func"
            step(state, insn)
    return taken, resolved
