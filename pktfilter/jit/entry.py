"""The object's own symbols: pf_run, pf_packets with the loop over the packets, pf_call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.native import LAYOUT
from .._core.tables import HELPERS
from .emit import EXEC, FEED
from .ops_calls import CLOCKS, LENGTH, NUMBER

if TYPE_CHECKING:
    from .translate import Shape

#: What a run leaves of this kind is read by the engine, or by the next run of the same packet.
_RESETS = {"exec.random_calls": "i32", "exec.redirect": "i16", "exec.tail_calls": "i16"}
_RESETS_RARE = {"exec.window_len": "i32", "exec.grant_count": "i32"}


class Text:
    """Lines of one function, with names for their values."""

    def __init__(self, head: str) -> None:
        self.lines = [head]
        self._count = 0

    def let(self, text: str) -> str:
        """Emits `%vN = text`; its name."""
        self._count += 1
        self.lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def do(self, *texts: str) -> None:
        """Emits instructions without a result, and labels."""
        self.lines += [text if text.endswith(":") else f"  {text}" for text in texts]

    def at(self, base: str, offset: int) -> str:
        """An address some bytes further."""
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, kind: str, base: str, name: str, tag: str) -> str:
        """Loads a field that the layout names."""
        return self.let(f"load {kind}, ptr {self.at(base, LAYOUT[name])}, {tag}")

    def store(self, kind: str, value: str, base: str, name: str, tag: str) -> None:
        """Stores one."""
        self.do(f"store {kind} {value}, ptr {self.at(base, LAYOUT[name])}, {tag}")


def _fields(t: Text, shape: Shape, made: dict[str, str]) -> list[str]:
    """The fields of ctx that a lean program takes: those made from the descriptor, others as they
    stand in x->packet, where nothing changes them during a feed."""
    out = []
    for name in shape.lean_fields():
        value = made.get(name)
        if value is None and name == LENGTH:
            value = _whole_length(t)
        elif value is None:
            wide = shape.fields[name].kind != "SCALAR"
            value = t.load("i64" if wide else "i32", "%x", f"exec.packet.{name}", EXEC)
            value = value if wide else t.let(f"zext i32 {value} to i64")
        out.append(value)
    return out


def _whole_length(t: Text) -> str:
    """pf_packet_length."""
    edges = [t.load("i64", "%x", f"exec.packet.{name}", EXEC) for name in ("data", "data_end")]
    linear = t.let(f"sub i64 {edges[1]}, {edges[0]}")
    extra = t.load("i32", "%x", "exec.packet.extra_len", EXEC)
    length = t.let(f"add i32 {t.let(f'trunc i64 {linear} to i32')}, {extra}")
    return t.let(f"zext i32 {length} to i64")


def _call(cpu: str, time: str, fields: list[str], arguments: list[str]) -> str:
    passed = [f"i64 {value}" for value in (*fields, *arguments)]
    return f"(ptr %x, i32 {cpu}, i64 {time}, {', '.join(passed)})"


def pf_run(shape: Shape) -> list[str]:
    """One run, as pf_vm_run after pf_vm_begin_run."""
    t = Text("define i64 @pf_run(ptr %x, i64 %r1, i64 %r2) #0 {")
    cpu = t.load("i32", "%x", "exec.cpu", EXEC)
    time = t.load("i64", "%x", "exec.time_ns", EXEC)
    passed = _call(cpu, time, _fields(t, shape, {}), ["%r1", "%r2", "0", "0", "0"])
    result = t.let(f"call i64 @f0{passed}")
    t.do(f"ret i64 {result}")
    return [*t.lines, "}"]


def pf_call(shape: Shape) -> list[str]:
    """A callback by its slot; empty where all of them are called in loops of the program itself."""
    taken = ", ".join(f"i64 %a{n}" for n in range(1, 6))
    t = Text(f"define i64 @pf_call(ptr %x, i32 %slot, {taken}) #0 {{")
    cpu = t.load("i32", "%x", "exec.cpu", EXEC)
    time = t.load("i64", "%x", "exec.time_ns", EXEC)
    arguments = [f"%a{n}" for n in range(1, 6)]
    cases = " ".join(f"i32 {slot}, label %c{slot}" for slot in sorted(shape.callbacks))
    t.do(f"switch i32 %slot, label %none [ {cases} ]")
    for slot in sorted(shape.callbacks):
        t.do(f"c{slot}:")
        result = t.let(f"call i64 @f{slot}{_call(cpu, time, [], arguments)}")
        t.do(f"ret i64 {result}")
    t.do("none:", "ret i64 0")
    return [*t.lines, "}"]


#: C functions that read the worker's clock (some clocks need none), and those that read the packet's index.
_TIMED = tuple(row.name for row in HELPERS if row.timed and row.name not in CLOCKS)
_INDEXED = tuple(row.name for row in HELPERS if row.indexed)


def _uses(shape: Shape, *names: str) -> bool:
    return any(NUMBER[name] in shape.helpers for name in names)


def _set_up(t: Text, data: str, end: str, extra: str) -> None:
    """pf_packet_init."""
    for name in ("data", "data_meta", "hard_start", "origin"):
        t.store("ptr", data, "%x", f"exec.packet.{name}", EXEC)
    for name in ("data_end", "hard_end", "extra"):
        t.store("ptr", end, "%x", f"exec.packet.{name}", EXEC)
    t.store("i32", extra, "%x", "exec.packet.extra_len", EXEC)
    t.store("i8", "0", "%x", "exec.packet.framed", EXEC)


def _clock(t: Text, descs: str) -> str:
    """Before the loop: where the first packet's time stands, and how far the next is."""
    wide = t.let("zext i32 %start to i64")
    far = f"i64 {LAYOUT['sizeof.stamp']}, i64 {LAYOUT['sizeof.desc']}"
    t.do(f"%time.step = select i1 %stamped, {far}")
    places = []
    for base, name in (("%stamps", "stamp.time_ns"), (descs, "desc.ts_ns")):
        places.append(t.at(base, LAYOUT[name]))
    base = t.let(f"select i1 %stamped, ptr {places[0]}, ptr {places[1]}")
    skipped = t.let(f"mul i64 {wide}, %time.step")
    return t.let(f"getelementptr i8, ptr {base}, i64 {skipped}")


def _time(t: Text) -> None:
    """The running maximum of capture time. Times come from signed ones (batch.h), so as signed numbers they
    compare rightly, and one before the epoch, which counts as 0, is below any that was before."""
    raw = t.let(f"load i64, ptr %time.at, {FEED}")
    t.do(f"%time = call i64 @llvm.smax.i64(i64 {raw}, i64 %time.before)")
    t.do("%time.next = getelementptr i8, ptr %time.at, i64 %time.step")


def _observed(t: Text, shape: Shape, time: str) -> None:
    """What a packet begins with in memory, where something that the program calls reads it."""
    others = shape.callbacks or _uses(shape, "tail_call")
    if others or _uses(shape, *_INDEXED):
        index = t.let("add i64 %first, %wide")
        off = t.let(f"mul nuw i64 %wide, {LAYOUT['sizeof.stamp']}")
        own = t.let(f"getelementptr i8, ptr %stamps, i64 {off}")
        # Without stamps the address is not used, and that of the feed is as good to load from.
        place = t.let(f"select i1 %stamped, ptr {t.at(own, LAYOUT['stamp.index'])}, ptr %feed")
        stamp = t.let(f"load i64, ptr {place}, {FEED}")
        index = t.let(f"select i1 %stamped, i64 {stamp}, i64 {index}")
        t.store("i64", index, "%x", "exec.packet_index", EXEC)
        t.store("i32", "0", "%x", "exec.random_calls", EXEC)
    if others or _uses(shape, *_TIMED):
        t.store("i64", time, "%x", "exec.time_ns", EXEC)
    if others or _uses(shape, "redirect", "redirect_map"):
        t.store("i16", "0", "%x", "exec.redirect", EXEC)
    if _uses(shape, "tail_call"):
        t.store("i16", "0", "%x", "exec.tail_calls", EXEC)
    if others or _uses(shape, "map_lookup_elem", "trace_printk"):
        for name, kind in _RESETS_RARE.items():
            t.store(kind, "0", "%x", name, EXEC)


def _count(t: Text, retval: str, caplen: str) -> None:
    """pf_vm_count, but for `done`, which nobody reads meanwhile."""
    known = t.let(f"icmp ult i32 {retval}, {LAYOUT['actions']}")
    action = t.let(f"zext i32 {t.let(f'select i1 {known}, i32 {retval}, i32 0')} to i64")
    place = t.let(f"getelementptr i64, ptr {t.at('%feed', LAYOUT['feed.sums'])}, i64 {action}")
    before = t.let(f"load i64, ptr {place}, {FEED}")
    bytes_ = t.let(f"zext i32 {caplen} to i64")
    more = t.let(f"add i64 {bytes_}, {LAYOUT['feed.one_packet']}")
    t.do(f"store i64 {t.let(f'add i64 {before}, {more}')}, ptr {place}, {FEED}")


def pf_packets(shape: Shape) -> list[str]:
    """The loop over a feed, as pf_vm_begin_packet and pf_run for each packet."""
    t = Text("define void @pf_packets(ptr %x, ptr %feed) #0 {")
    t.do("entry:")
    cpu = t.load("i32", "%x", "exec.cpu", EXEC)
    before = t.load("i64", "%x", "exec.time_ns", EXEC)
    n = t.load("i32", "%feed", "feed.n", FEED)
    t.do(f"%start = load i32, ptr {t.at('%feed', LAYOUT['feed.done'])}, {FEED}")
    descs = t.load("ptr", "%feed", "feed.desc", FEED)
    retvals = t.load("ptr", "%feed", "feed.retvals", FEED)
    limit = t.load("i32", "%feed", "feed.linear_limit", FEED)
    t.do(f"%first = load i64, ptr {t.at('%feed', LAYOUT['feed.first'])}, {FEED}")
    t.do(f"%stamps = load ptr, ptr {t.at('%feed', LAYOUT['feed.stamps'])}, {FEED}")
    t.do("%stamped = icmp ne ptr %stamps, null")
    for name, kind in _RESETS.items():
        t.store(kind, "0", "%x", name, EXEC)
    packet = t.at("%x", LAYOUT["exec.packet"])
    ctx = t.let(f"ptrtoint ptr {packet} to i64")
    given = _fields(t, shape, dict.fromkeys(_MADE, "0"))
    loaded = dict(zip(shape.lean_fields(), given, strict=True))
    first_time = _clock(t, descs)
    any_ = t.let(f"icmp ult i32 %start, {n}")
    t.do(f"br i1 {any_}, label %loop, label %out", "loop:")
    t.do(
        "%i = phi i32 [ %start, %entry ], [ %i.next, %loop ]",
        f"%time.before = phi i64 [ {before}, %entry ], [ %time, %loop ]",
        f"%time.at = phi ptr [ {first_time}, %entry ], [ %time.next, %loop ]",
        "%wide = zext i32 %i to i64",
        f"%desc.off = mul nuw i64 %wide, {LAYOUT['sizeof.desc']}",
        f"%desc = getelementptr i8, ptr {descs}, i64 %desc.off",
    )
    data = t.load("ptr", "%desc", "desc.data", FEED)
    caplen = t.load("i32", "%desc", "desc.caplen", FEED)
    linear = t.let(f"call i32 @llvm.umin.i32(i32 {caplen}, i32 {limit})")
    end = t.let(f"getelementptr i8, ptr {data}, i64 {t.let(f'zext i32 {linear} to i64')}")
    _time(t)
    made = dict(loaded)
    if shape.lean:
        made |= _from_descriptor(t, shape, data, end)
    else:
        extra = t.let(f"sub i32 {caplen}, {linear}")
        _set_up(t, data, end, extra)
    _observed(t, shape, "%time")
    fields = [made[name] for name in shape.lean_fields()]
    passed = _call(cpu, "%time", fields, [ctx, "0", "0", "0", "0"])
    inline = "" if shape.big() else " alwaysinline"
    result = t.let(f"call i64 @f0{passed}{inline}")
    short = t.let(f"trunc i64 {result} to i32")
    slot = t.let(f"getelementptr i32, ptr {retvals}, i64 %wide")
    t.do(f"store i32 {short}, ptr {slot}, {FEED}")
    _count(t, short, caplen)
    t.do("%i.next = add nuw i32 %i, 1")
    more = t.let(f"icmp ult i32 %i.next, {n}")
    t.do(f"br i1 {more}, label %loop, label %out", "out:")
    t.do(f"%last = phi i64 [ {before}, %entry ], [ %time, %loop ]")
    t.store("i64", "%last", "%x", "exec.time_ns", EXEC)
    t.store("i32", n, "%feed", "feed.done", FEED)
    t.do("ret void")
    return [*t.lines, "}"]


#: Fields that the descriptor gives; all others stay as they are in x->packet.
_MADE = ("data", "data_end", "data_meta", "wire_len", LENGTH)


def _from_descriptor(t: Text, shape: Shape, data: str, end: str) -> dict[str, str]:
    made = {}
    for name in shape.lean_fields():
        if name in ("data", "data_meta"):
            made[name] = t.let(f"ptrtoint ptr {data} to i64")
        elif name == "data_end":
            made[name] = t.let(f"ptrtoint ptr {end} to i64")
        elif name in ("wire_len", LENGTH):
            place = "desc.wire_len" if name == "wire_len" else "desc.caplen"
            length = t.load("i32", "%desc", place, FEED)
            made[name] = t.let(f"zext i32 {length} to i64")
    return made
