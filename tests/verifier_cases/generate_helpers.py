"""The families that go through every helper and every kind of argument, and through encodings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from generate import END, Case

MAPS = """\
map: hash hash 4 8 16
map: wide hash 16 32 16
map: arr array 4 8 1
map: percpu percpu_array 4 8 4
map: progs prog_array 4 4 4
map: devs devmap 4 4 4
map: cpus cpumap 4 4 4
map: lpm lpm_trie 8 4 16 no_prealloc
map: outer array_of_maps 4 4 2 inner array 4 8 4"""

# Ways to fill an argument register; {n} is its number. r6 holds the context.
STACK8 = "r{n} = r10; r{n} += -8"
GOOD = {
    "CTX": "r{n} = r6", "MAP": "r{n} = map[hash]", "PROG_ARRAY": "r{n} = map[progs]",
    "PORT_MAP": "r{n} = map[devs]", "MAP_KEY": STACK8, "MAP_VALUE": STACK8, "MEM_READ": STACK8,
    "MEM_READ_OR_NULL": STACK8, "MEM_WRITE": STACK8, "SIZE": "r{n} = 8", "SIZE_OR_ZERO": "r{n} = 8",
    "ANYTHING": "r{n} = 0", "FUNC": "r{n} = subprog[cb]", "CALLBACK_CTX": STACK8,
}  # fmt: skip
# What is wrong in each kind: label, filling, reason, why.
BAD: dict[str, list[tuple[str, str, str, str]]] = {
    "CTX": [
        ("number", "r{n} = 0", "helper-arg", "a number stands where the context is wanted"),
        ("stack", STACK8, "helper-arg", "a stack pointer stands where the context is wanted"),
        ("moved", "r{n} = r6; r{n} += 4", "helper-arg", "the context pointer was moved"),
        ("packet", "r{n} = *(u32 *)(r6 +0)", "helper-arg", "a packet pointer stands there"),
    ],
    "MAP": [
        ("number", "r{n} = 0", "helper-arg", "a number stands where a map is wanted"),
        ("stack", STACK8, "helper-arg", "a stack pointer stands where a map is wanted"),
        ("ctx", "r{n} = r6", "helper-arg", "the context stands where a map is wanted"),
        ("value", "r{n} = map[arr][0]+0", "helper-arg", "the address of a value stands there"),
    ],
    "PROG_ARRAY": [
        ("number", "r{n} = 0", "helper-arg", "a number stands where a map is wanted"),
        ("hash", "r{n} = map[hash]", "helper-map-type", "a hash is not a prog array"),
        ("array", "r{n} = map[arr]", "helper-map-type", "an array is not a prog array"),
        ("outer", "r{n} = map[outer]", "helper-map-type", "an array of maps is not a prog array"),
    ],
    "PORT_MAP": [
        ("number", "r{n} = 0", "helper-arg", "a number stands where a map is wanted"),
        ("hash", "r{n} = map[hash]", "helper-map-type", "a hash has no ports"),
        ("array", "r{n} = map[arr]", "helper-map-type", "an array has no ports"),
        ("progs", "r{n} = map[progs]", "helper-map-type", "a prog array has no ports"),
    ],
    "MAP_KEY": [
        ("number", "r{n} = 5", "helper-arg", "a number stands where the address of a key is wanted"),
        ("null", "r{n} = 0", "helper-arg", "NULL is no key"),
        ("ctx", "r{n} = r6", "helper-arg", "the context is no memory for a key"),
        ("too_small", "r{n} = r10; r{n} += -2", "helper-memory", "2 bytes are left, the key has 4"),
        ("below_stack", "r{n} = r10; r{n} += -516", "helper-memory", "it lies below the stack"),
        ("packet_unproved", "r{n} = *(u32 *)(r6 +0)", "packet-range", "nothing is proved of it"),
    ],
    "MAP_VALUE": [
        ("number", "r{n} = 5", "helper-arg", "a number stands where the address of a value is wanted"),
        ("null", "r{n} = 0", "helper-arg", "NULL is no value"),
        ("ctx", "r{n} = r6", "helper-arg", "the context is no memory for a value"),
        ("too_small", "r{n} = r10; r{n} += -4", "helper-memory", "4 bytes are left, the value has 8"),
        ("map", "r{n} = map[hash]", "helper-arg", "a map is no memory"),
    ],
    "MEM_READ": [
        ("number", "r{n} = 5", "helper-arg", "a number is no memory"),
        ("null", "r{n} = 0", "helper-arg", "NULL is no memory"),
        ("ctx", "r{n} = r6", "helper-arg", "the context is no memory"),
        ("too_small", "r{n} = r10; r{n} += -4", "helper-memory", "4 bytes are left, 8 are asked for"),
        ("value_too_small", "r{n} = map[arr][0]+4", "helper-memory", "the value ends 4 bytes on"),
    ],
    "MEM_READ_OR_NULL": [
        ("number", "r{n} = 5", "helper-arg", "a number is no memory"),
        ("map", "r{n} = map[hash]", "helper-arg", "a map is no memory"),
        ("too_small", "r{n} = r10; r{n} += -4", "helper-memory", "4 bytes are left, 8 are asked for"),
    ],
    "MEM_WRITE": [
        ("number", "r{n} = 5", "helper-arg", "a number is no memory"),
        ("null", "r{n} = 0", "helper-arg", "NULL is no memory"),
        ("too_small", "r{n} = r10; r{n} += -4", "helper-memory", "4 bytes are left, 8 are written"),
        ("below_stack", "r{n} = r10; r{n} += -520", "helper-memory", "it lies below the stack"),
        ("value_too_small", "r{n} = map[arr][0]+4", "helper-memory", "the value ends 4 bytes on"),
    ],
    "SIZE": [
        ("zero", "r{n} = 0", "helper-size", "the size is 0"),
        ("negative", "r{n} = -1", "helper-size", "the size is negative"),
        ("unknown", "r{n} = *(u32 *)(r6 +16)", "helper-size", "nothing limits the size"),
        ("maybe_zero", "r{n} = *(u32 *)(r6 +16); r{n} &= 7", "helper-size", "the size can be 0"),
        ("pointer", "r{n} = r10", "helper-arg", "a pointer is no size"),
    ],
    "SIZE_OR_ZERO": [
        ("negative", "r{n} = -4", "helper-size", "the size is negative"),
        ("unknown", "r{n} = *(u32 *)(r6 +16)", "helper-size", "nothing limits the size"),
        ("pointer", "r{n} = r10", "helper-arg", "a pointer is no size"),
        ("beyond", "r{n} = 12", "helper-memory", "8 bytes are there, 12 are asked for"),
    ],
    "ANYTHING": [],
    "FUNC": [
        ("number", "r{n} = 0", "callback-arg", "a number is no function"),
        ("stack", STACK8, "callback-arg", "a stack pointer is no function"),
        ("map", "r{n} = map[hash]", "callback-arg", "a map is no function"),
    ],
    "CALLBACK_CTX": [
        ("number", "r{n} = 5", "helper-arg", "a number is neither stack nor NULL"),
        ("ctx", "r{n} = r6", "helper-arg", "the context of a callback lies on the stack"),
        ("value", "r{n} = map[arr][0]+0", "helper-arg", "the context of a callback lies on the stack"),
    ],
}  # fmt: skip
FINE = {
    "ANYTHING": [("pointer", "r{n} = r10"), ("unknown", "r{n} = *(u32 *)(r6 +16)")],
    "MEM_READ_OR_NULL": [("value", "r{n} = map[arr][0]+0")],
    "MEM_READ": [("value", "r{n} = map[arr][0]+0")],
    "MEM_WRITE": [("value", "r{n} = map[arr][0]+0")],
    "MAP_KEY": [("value", "r{n} = map[arr][0]+4")],
    "MAP_VALUE": [("value", "r{n} = map[arr][0]+0")],
    "SIZE": [("bounded", "r{n} = *(u32 *)(r6 +16); r{n} &= 7; r{n} += 1")],
    "SIZE_OR_ZERO": [("zero", "r{n} = 0")],
    "CALLBACK_CTX": [("null", "r{n} = 0")],
    "MAP": [("other_type", "r{n} = map[arr]")],
    "PORT_MAP": [("cpus", "r{n} = map[cpus]")],
}

# Helper, arguments as in helper.def, and fillings that differ from GOOD by argument number.
HELPERS: list[tuple[str, list[str], dict[int, str]]] = [
    ("map_lookup_elem", ["MAP", "MAP_KEY"], {}),
    ("map_update_elem", ["MAP", "MAP_KEY", "MAP_VALUE", "ANYTHING"], {}),
    ("map_delete_elem", ["MAP", "MAP_KEY"], {}),
    ("map_lookup_percpu_elem", ["MAP", "MAP_KEY", "ANYTHING"], {1: "r{n} = map[percpu]"}),
    ("ktime_get_ns", [], {}),
    ("ktime_get_boot_ns", [], {}),
    ("ktime_get_coarse_ns", [], {}),
    ("ktime_get_tai_ns", [], {}),
    ("jiffies64", [], {}),
    ("get_prandom_u32", [], {}),
    ("get_smp_processor_id", [], {}),
    ("trace_printk", ["MEM_READ", "SIZE", "ANYTHING", "ANYTHING", "ANYTHING"], {}),
    ("tail_call", ["CTX", "PROG_ARRAY", "ANYTHING"], {}),
    ("redirect", ["ANYTHING", "ANYTHING"], {}),
    ("redirect_map", ["PORT_MAP", "ANYTHING", "ANYTHING"], {}),
    ("csum_diff", ["MEM_READ_OR_NULL", "SIZE_OR_ZERO", "MEM_READ_OR_NULL", "SIZE_OR_ZERO", "ANYTHING"], {}),
    ("xdp_adjust_head", ["CTX", "ANYTHING"], {}),
    ("xdp_adjust_meta", ["CTX", "ANYTHING"], {}),
    ("xdp_adjust_tail", ["CTX", "ANYTHING"], {}),
    ("xdp_get_buff_len", ["CTX"], {}),
    ("xdp_load_bytes", ["CTX", "ANYTHING", "MEM_WRITE", "SIZE"], {}),
    ("xdp_store_bytes", ["CTX", "ANYTHING", "MEM_READ", "SIZE"], {}),
    ("for_each_map_elem", ["MAP", "FUNC", "CALLBACK_CTX", "ANYTHING"], {}),
    ("loop", ["ANYTHING", "FUNC", "CALLBACK_CTX", "ANYTHING"], {}),
]  # fmt: skip


def _call(helper: str, args: list[str], fill: list[str]) -> list[str]:
    lines = ["r6 = r1", "*(u64 *)(r10 -8) = 0"]
    for number, text in enumerate(fill, 1):
        lines += [part.strip() for part in text.format(n=number).split(";") if part.strip()]
    lines += [f"call bpf_{helper}", *END]
    if "FUNC" in args:
        lines += ["cb: r0 = 0", "exit"]
    return lines


def helper_arguments() -> Iterator[Case]:
    for helper, args, special in HELPERS:
        good = [special.get(n, GOOD[kind]) for n, kind in enumerate(args, 1)]
        yield Case(f"{helper}_good", "accept", _call(helper, args, good))
        for index, kind in enumerate(args):
            number = index + 1
            label = f"{helper}_arg{number}_{kind.lower()}"

            def changed(text: str, index: int = index, good: list[str] = good) -> list[str]:
                return [*good[:index], text, *good[index + 1 :]]

            for name, text in FINE.get(kind, []):
                if (helper, name) == ("map_lookup_percpu_elem", "other_type"):
                    continue
                if (helper, number, name) == ("loop", 1, "pointer"):
                    continue  # "verifier bug: backtracking misuse", no verdict to learn from
                yield Case(f"{label}_{name}", "accept", _call(helper, args, changed(text)))
            for name, text, reason, why in BAD[kind]:
                code = _call(helper, args, changed(text))
                if "FUNC" in args and "subprog[cb]" not in " ".join(code):
                    code = code[:-2]
                yield Case(
                    f"{label}_{name}", f"reject {reason}", code, f"Argument {number}: {why}."
                )
            code = _call(helper, args, changed(""))
            if number == 1:
                code.insert(2, "call bpf_ktime_get_ns")
            if "FUNC" in args and kind == "FUNC":
                code = code[:-2]
            if helper == "trace_printk" and number > 2:
                # What the format does not use is not looked at.
                yield Case(f"{label}_unset", "accept", code)
                continue
            yield Case(
                f"{label}_unset", "reject uninit-register", code,
                f"Argument {number}: r{number} has no value.", f"initiali, r{number}",
            )  # fmt: skip


MAP_TYPES = ["hash", "arr", "percpu", "progs", "devs", "cpus", "lpm", "outer"]
# Which map types each helper takes.
FITS = {
    "map_lookup_elem": {"hash", "arr", "percpu", "lpm", "outer", "devs"},
    "map_update_elem": {"hash", "arr", "percpu", "lpm"},
    "map_delete_elem": {"hash", "arr", "percpu", "lpm"},
    "for_each_map_elem": {"hash", "arr", "percpu"},
    "map_lookup_percpu_elem": {"percpu"},
    "redirect_map": {"devs", "cpus"},
    "tail_call": {"progs"},
}


def helper_map_types() -> Iterator[Case]:
    table = {helper: (args, special) for helper, args, special in HELPERS}
    for helper, fits in FITS.items():
        args, _ = table[helper]
        for name in MAP_TYPES:
            fill = [GOOD[kind] for kind in args]
            at = next(i for i, kind in enumerate(args) if kind in ("MAP", "PROG_ARRAY", "PORT_MAP"))
            fill[at] = f"r{{n}} = map[{name}]"
            reason = "helper-map-type"
            why = "" if name in fits else "The helper does not work on maps of this type."
            yield Case(
                f"{helper}_{name}", "accept" if name in fits else f"reject {reason}",
                _call(helper, args, fill), why,
            )  # fmt: skip


# --- encodings

RESERVED: list[tuple[str, str, str, str]] = [
    ("add_imm_src", "07 10 00 00 01 00 00 00", "reserved-field", "src of an addition of a constant"),
    ("add_imm_off", "07 00 01 00 01 00 00 00", "reserved-field", "off of an addition"),
    ("add_reg_imm", "0f 00 00 00 01 00 00 00", "reserved-field", "imm of an addition of a register"),
    ("mov_imm_src", "b7 10 00 00 01 00 00 00", "reserved-field", "src of a constant move"),
    ("mov_imm_off", "b7 00 01 00 01 00 00 00", "reserved-field", "off of a constant move"),
    ("mov_reg_imm", "bf 10 00 00 01 00 00 00", "reserved-field", "imm of a register move"),
    ("neg_imm", "87 00 00 00 01 00 00 00", "reserved-field", "imm of a negation"),
    ("neg_src", "87 10 00 00 00 00 00 00", "reserved-field", "src of a negation"),
    ("neg_off", "87 00 01 00 00 00 00 00", "reserved-field", "off of a negation"),
    ("be_off", "dc 00 01 00 10 00 00 00", "reserved-field", "off of a byte swap"),
    ("be_src", "dc 10 00 00 10 00 00 00", "reserved-field", "src of a byte swap"),
    ("load_imm", "61 10 00 00 01 00 00 00", "reserved-field", "imm of a load"),
    ("store_reg_imm", "63 1a fc ff 01 00 00 00", "reserved-field", "imm of a register store"),
    ("store_imm_src", "62 1a fc ff 01 00 00 00", "reserved-field", "src of a constant store"),
    ("ja_dst", "05 01 00 00 00 00 00 00", "reserved-field", "dst of a jump"),
    ("ja_src", "05 10 00 00 00 00 00 00", "reserved-field", "src of a jump"),
    ("ja_imm", "05 00 00 00 01 00 00 00", "reserved-field", "imm of a short jump"),
    ("ja32_off", "06 00 01 00 00 00 00 00", "reserved-field", "off of a long jump"),
    ("jeq_imm_src", "15 10 00 00 01 00 00 00", "reserved-field", "src of a comparison with a constant"),
    ("jeq_reg_imm", "1d 10 00 00 01 00 00 00", "reserved-field", "imm of a comparison of registers"),
    ("call_dst", "85 01 00 00 05 00 00 00", "reserved-field", "dst of a call"),
    ("call_off", "85 00 01 00 05 00 00 00", "reserved-field", "off of a helper call"),
    ("exit_imm", "95 00 00 00 01 00 00 00", "reserved-field", "imm of exit"),
    ("exit_dst", "95 01 00 00 00 00 00 00", "reserved-field", "dst of exit"),
    ("exit_src", "95 10 00 00 00 00 00 00", "reserved-field", "src of exit"),
    ("div_off_2", "37 00 02 00 01 00 00 00", "unknown-opcode", "no division has off = 2"),
    ("mod_off_8", "97 00 08 00 03 00 00 00", "unknown-opcode", "no modulo has off = 8"),
    ("movsx_off_4", "bf 10 04 00 00 00 00 00", "unknown-opcode", "no sign extension of 4 bits"),
    ("movsx32_off_32", "bc 10 20 00 00 00 00 00", "unknown-opcode", "32 to 32 bits is a plain move"),
    ("be_8", "dc 00 00 00 08 00 00 00", "unknown-opcode", "a byte swap has 16, 32 or 64 bits"),
    ("le_24", "d4 00 00 00 18 00 00 00", "unknown-opcode", "a byte swap has 16, 32 or 64 bits"),
    ("bswap_0", "d7 00 00 00 00 00 00 00", "unknown-opcode", "a byte swap has 16, 32 or 64 bits"),
    ("atomic_sub", "db 1a f8 ff 10 00 00 00", "unknown-opcode", "no atomic subtracts"),
    ("atomic_xchg_no_fetch", "db 1a f8 ff e0 00 00 00", "unknown-opcode", "an exchange always fetches"),
    ("atomic_16bit", "cb 1a f8 ff 00 00 00 00", "unknown-opcode", "atomics have 32 or 64 bits"),
    ("atomic_8bit", "d3 1a f8 ff 01 00 00 00", "unknown-opcode", "atomics have 32 or 64 bits"),
    ("alu_e0", "e7 00 00 00 01 00 00 00", "unknown-opcode", "arithmetic code 14 does not exist"),
    ("alu_f0", "f7 00 00 00 01 00 00 00", "unknown-opcode", "arithmetic code 15 does not exist"),
    ("jmp_f0", "f5 00 00 00 00 00 00 00", "unknown-opcode", "jump code 15 does not exist"),
    ("jmp32_call", "86 00 00 00 05 00 00 00", "unknown-opcode", "there is no 32-bit call"),
    ("jmp32_exit", "96 00 00 00 00 00 00 00", "unknown-opcode", "there is no 32-bit exit"),
    ("callx", "8d 00 00 00 00 00 00 00", "unknown-opcode", "callx is not in Linux"),
    ("ldx_msh", "b1 10 00 00 00 00 00 00", "unknown-opcode", "a classic instruction"),
    ("zero", "00 00 00 00 00 00 00 00", "unknown-opcode", "opcode 0"),
    ("all_ones", "ff ff ff ff ff ff ff ff", "unknown-opcode", "opcode 255"),
    ("ld_abs_b", "30 00 00 00 00 00 00 00", "legacy-load", "a load of classic BPF"),
    ("ld_abs_h", "28 00 00 00 0c 00 00 00", "legacy-load", "a load of classic BPF"),
    ("ld_ind_w", "40 10 00 00 00 00 00 00", "legacy-load", "a load of classic BPF"),
]  # fmt: skip


def encodings() -> Iterator[Case]:
    for name, raw, reason, why in RESERVED:
        says = "callx" if name == "callx" else ""
        code = ["r0 = 2", "*(u64 *)(r10 -8) = 0", f"raw {raw}", "exit"]
        if name.startswith("exit_"):
            code.pop()
        yield Case(name, f"reject {reason}", code, f"{why[0].upper()}{why[1:]}.", says)
    for op, base in (("<<=", 0x60), (">>=", 0x70), ("s>>=", 0xC0)):
        label = {"<<=": "lsh", ">>=": "rsh", "s>>=": "arsh"}[op]
        for width, low, limit in ((64, 7, 64), (32, 4, 32)):
            reg = "r" if width == 64 else "w"
            yield Case(
                f"{label}{width}_by_{limit - 1}",
                "accept",
                ["r0 = 1", f"{reg}0 {op} {limit - 1}", "exit"],
            )
            yield Case(f"{label}{width}_by_0", "accept", ["r0 = 1", f"{reg}0 {op} 0", "exit"])
            for amount in (limit, -1):
                imm = (amount & 0xFFFFFFFF).to_bytes(4, "little").hex(" ")
                yield Case(
                    f"{label}{width}_by_{amount}".replace("-", "minus_"), "reject shift-range",
                    ["r0 = 1", f"raw {base | low:02x} 00 00 00 {imm}", "exit"],
                    f"A shift by {amount} of {width} bits.",
                )  # fmt: skip
    for label, opcode, off in (
        ("div64", "37", "00"), ("div32", "34", "00"), ("mod64", "97", "00"), ("mod32", "94", "00"),
        ("sdiv64", "37", "01"), ("smod32", "94", "01"),
    ):  # fmt: skip
        yield Case(
            f"{label}_by_0", "reject div-zero",
            ["r0 = 1", f"raw {opcode} 00 {off} 00 00 00 00 00", "exit"], "A division by the constant 0.",
        )  # fmt: skip
        yield Case(
            f"{label}_by_register", "accept",
            ["r0 = 1", "r1 = 0", f"raw {int(opcode, 16) | 8:02x} 10 {off} 00 00 00 00 00", "exit"],
        )  # fmt: skip


def helper_families() -> dict[str, tuple[Callable[[], Iterator[Case]], str]]:
    """Topic to its family and the maps of its file."""
    return {
        "helper_arguments": (helper_arguments, MAPS),
        "helper_map_types": (helper_map_types, MAPS),
        "encodings": (encodings, ""),
    }
