"""The directives of an assembly file that define maps, global data and initial contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from ..errors import AssemblerError, InputError
from ..objects.kinds import MAP_IN_MAP
from ..objects.map_spec import BPF_F_RDONLY_PROG, MapSpec
from .tokens import WORD, tokenize

# Of all global data and initialised slots of a file together, as much as the object reader takes.
DATA_LIMIT = 64 << 20
SLOT_SIZE = 8  # bytes of a slot's initialiser in an object
#: Sections of global data: programs cannot write to .rodata, .bss has no bytes in the file.
DATA_NAME = re.compile(r"\.(rodata|data|bss)(?:\.[\w.$]+)?", re.ASCII)
#: The optional attributes of a map, as `word=N`, and where a spec holds them.
OPTIONS = {"numa": "numa_node", "pinning": "pinning", "extra": "map_extra", "lock": "lock"}
INNER = "inner"
_U32 = (1 << 32) - 1
_SIZES = ("key size", "value size", "number of entries", "flags")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)

Words = list[tuple[str, int]]  # words of a line with their columns
Fail = Callable[..., AssemblerError]


def data_map(name: str, size: int, data: bytes | None = None) -> MapSpec:
    """The map that stands for the section `name` of global data."""
    read_only = name.startswith(".rodata")
    return MapSpec(
        type="array",
        key_size=4,
        value_size=size,
        max_entries=1,
        flags=BPF_F_RDONLY_PROG if read_only else 0,
        name=name,
        data=data,
        frozen=read_only,
        section=name,
    )


def is_given(spec: MapSpec, attribute: str) -> bool:
    """Whether an optional attribute says something: the lock's offset may be 0, others not."""
    value = getattr(spec, attribute)
    return value is not None and (value != 0 or attribute == "lock")


def is_data(spec: MapSpec) -> bool:
    """Whether the map is a section of global data."""
    return spec.section == spec.name and DATA_NAME.fullmatch(spec.name) is not None


class Definitions:
    """The maps of one file by name, and the numbers by which instructions name them."""

    def __init__(self, fail: Fail) -> None:
        self.fail = fail
        self.maps: dict[str, MapSpec] = {}
        self.numbers: dict[str, int] = {}
        self._contents: dict[str, bytearray] = {}
        self._lengths: dict[str, int] = {}  # slots up to the last that is filled
        self._slots: list[tuple[int, tuple[str, int], str]] = []  # line, target, map
        self._room = DATA_LIMIT

    def operands(self, line: int, words: Words, form: str, least: int, most: int) -> list[str]:
        """The words of a directive that takes `least` to `most` of them."""
        if not least <= len(words) <= most:
            column = words[most][1] if len(words) > most else None
            raise self.fail("directive is wrong", line, column, f"{len(words)} operands", form)
        return [word for word, _ in words]

    def map(self, line: int, words: Words) -> None:
        """`.map`: a definition, which may end in that of the inner map."""
        form = f".map NAME TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES [FLAGS] [{INNER} TYPE ...]"
        at = next((n for n, (word, _) in enumerate(words) if word == INNER and n > 1), len(words))
        outer, inner = words[:at], words[at + 1 :]
        (name, *_) = self.operands(line, outer, form, 5, 6 + len(OPTIONS))
        spec = self._spec(line, outer[1:], name)
        if at < len(words):
            self.operands(line, inner, form, 4, 5 + len(OPTIONS))
            spec.inner = self._spec(line, inner, f"{name}.{INNER}")
        try:
            spec.validate()
        except InputError as error:
            raise self._refused(line, words[0], error) from error
        self._define(line, words[0], max(self.numbers.values(), default=0) + 1)
        self.maps[name] = spec

    def extern(self, line: int, words: Words) -> None:
        """`.extern`: a map that this file does not define."""
        self.operands(line, words, ".extern NAME NUMBER", 2, 2)
        self._define(line, words[0], self._integer(line, words[1], "map number"))

    def data(self, line: int, words: Words) -> None:
        """`.data`: a section of global data, zeros at first."""
        (name, _) = self.operands(line, words, ".data NAME SIZE", 2, 2)
        if DATA_NAME.fullmatch(name) is None:
            expected = ".rodata, .data or .bss, with or without .SUFFIX"
            raise self.fail(
                "global data cannot be called so", line, words[0][1], f"'{name}'", expected
            )
        size = self._integer(line, words[1], "size")
        if size == 0:
            raise self.fail("size is wrong", line, words[1][1], "0", "at least 1 byte")
        self._take(line, words[1][1], size)
        self._define(line, words[0], max(self.numbers.values(), default=0) + 1)
        self.maps[name] = data_map(name, size)
        if not name.startswith(".bss"):
            self._contents[name] = bytearray(size)

    def bytes(self, line: int, words: Words) -> None:
        """`.bytes`: initial contents of global data from an offset on."""
        form = ".bytes NAME OFFSET HEX..."
        (name, *_) = self.operands(line, words, form, 3, max(len(words), 3))
        spec = self.maps.get(name)
        if spec is None or not is_data(spec):
            expected = "the name of a .data line before"
            raise self.fail("there is no such data", line, words[0][1], f"'{name}'", expected)
        offset = self._integer(line, words[1], "offset")
        for word, column in words[2:]:
            if _HEX.fullmatch(word) is None:
                expected = "pairs of hex digits"
                raise self.fail("these are no bytes", line, column, f"'{word}'", expected)
            end = offset + len(word) // 2
            if end > spec.value_size:
                found, expected = f"bytes {offset} to {end}", f"at most {spec.value_size}"
                raise self.fail("bytes are outside the data", line, column, found, expected)
            contents = self._contents.setdefault(name, bytearray())
            contents.extend(bytes(max(end - len(contents), 0)))
            contents[offset:end] = bytes.fromhex(word)
            offset = end

    def slot(self, line: int, words: Words) -> None:
        """`.slot`: what a slot of a prog array or a map of maps holds at first."""
        (name, _, target) = self.operands(line, words, ".slot MAP INDEX NAME", 3, 3)
        spec = self.maps.get(name)
        if spec is None or spec.type not in ("prog_array", *MAP_IN_MAP):
            expected = f"a prog_array, {' or '.join(MAP_IN_MAP)} of a .map line before"
            raise self.fail("map cannot have slots", line, words[0][1], f"'{name}'", expected)
        index = self._integer(line, words[1], "index")
        if index in spec.values:
            raise self.fail("slot is filled twice", line, words[1][1], str(index))
        if spec.type != "hash_of_maps" and index >= spec.max_entries:
            expected = f"below {spec.max_entries}"
            raise self.fail("slot is outside the map", line, words[1][1], str(index), expected)
        length = self._lengths.get(name, 0)
        self._take(line, words[1][1], max(index + 1 - length, 0) * SLOT_SIZE)
        self._lengths[name] = max(index + 1, length)
        spec.values[index] = target
        self._slots.append((line, words[2], name))

    def finish(self, programs: Collection[str]) -> None:
        """Settle contents and check slots when the whole file is read."""
        for name, contents in self._contents.items():
            size = self.maps[name].value_size
            self.maps[name].data = bytes(contents) + bytes(size - len(contents))
        for line, (target, column), name in self._slots:
            inner = self.maps[name].inner is not None
            known = target in self.maps and target != name and not is_data(self.maps[target])
            if not (known if inner else target in programs):
                expected = "a map of a .map line" if inner else "a program of this file"
                raise self.fail("slot cannot be filled so", line, column, f"'{target}'", expected)

    def _spec(self, line: int, words: Words, name: str) -> MapSpec:
        """TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES [FLAGS] and options, the count checked before."""
        sizes: list[int] = []
        options: dict[str, int] = {}
        for word, column in words[1:]:
            key, equals, value = word.partition("=")
            if equals and key in OPTIONS and len(sizes) >= 3 and OPTIONS[key] not in options:
                place = (value, column + len(key) + 1)
                options[OPTIONS[key]] = self._integer(line, place, key)
            elif len(sizes) == len(_SIZES) or options:
                expected = ", ".join(f"{option}=N" for option in OPTIONS)
                raise self.fail("map option is wrong", line, column, f"'{word}'", expected)
            else:
                sizes.append(self._integer(line, (word, column), _SIZES[len(sizes)]))
        key_size, value_size, max_entries, flags = [*sizes, 0][:4]
        spec = MapSpec(words[0][0], key_size, value_size, max_entries, flags, name=name)
        for attribute, number in options.items():
            setattr(spec, attribute, number)
        return spec

    def _integer(self, line: int, word: tuple[str, int], what: str) -> int:
        tokens = tokenize(word[0])
        if len(tokens) != 1 or tokens[0].kind != "number" or tokens[0].number > _U32:
            expected = f"a number from 0 to {_U32}"
            raise self.fail(f"{what} is wrong", line, word[1], f"'{word[0]}'", expected)
        return tokens[0].number

    def _take(self, line: int, column: int, size: int) -> None:
        self._room -= size
        if self._room < 0:
            expected = f"at most {DATA_LIMIT} bytes in a file"
            raise self.fail("there is too much data", line, column, expected=expected)

    def _define(self, line: int, word: tuple[str, int], number: int) -> None:
        name, column = word
        if WORD.fullmatch(name) is None:
            raise self.fail("a map cannot be called so", line, column, f"'{name}'")
        if name in self.numbers:
            raise self.fail("map is defined twice", line, column, f"'{name}'")
        if number in self.numbers.values():
            raise self.fail("map number is taken", line, column, str(number))
        self.numbers[name] = number

    def _refused(self, line: int, word: tuple[str, int], error: InputError) -> AssemblerError:
        found = None if error.found is None else str(error.found)
        expected = None if error.expected is None else str(error.expected)
        return self.fail(f"map '{word[0]}': {error.message}", line, word[1], found, expected)
