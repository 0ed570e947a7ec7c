"""The result file: what a run of benchmarks leaves behind. JSON, versioned, checked when read."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError

FORMAT = "pktfilter-bench"
VERSION = 1
#: Larger files are refused unread.
FILE_LIMIT = 64 << 20
_MOST = 100_000
_LEAST = 1e-12
_TEXT = 20_000
ROLES = ("subject", "peer", "baseline")


@dataclass
class Series:
    """One thing measured in every round. `values` in the benchmark's unit; `baseline` names a series."""

    name: str
    role: str = "subject"
    values: list[float] = field(default_factory=list)
    baseline: str | None = None


@dataclass
class Ratio:
    """What stands beside what: `over` / `under`, series of the same benchmark; `net`: of their baselines.

    `limit`: what it must not exceed; None where nothing is promised. `main`: one of the few that a
    reader should see first.
    """

    over: str
    under: str
    net: bool = False
    limit: float | None = None
    main: bool = False


@dataclass
class Bound:
    """The median of a series (`minus`: less that of another one) must not exceed `limit`, in the unit."""

    series: str
    limit: float
    minus: str | None = None


@dataclass
class Skipped:
    """What could not be measured, and why."""

    name: str
    reason: str


@dataclass
class Benchmark:
    """One benchmark. `id` is stable between versions: group/name. Lower values are better, unless `higher`."""

    id: str
    group: str
    title: str
    unit: str
    higher: bool = False
    note: str = ""
    partial: bool = False
    load: list[float] = field(default_factory=list)
    calibration_ns: list[float] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Series | None:
        """The series of this name."""
        return next((series for series in self.series if series.name == name), None)

    def net(self, name: str) -> list[float] | None:
        """Values less those of the baseline in the same round; as measured where there is none."""
        series = self.find(name)
        if series is None:
            return None
        base = self.find(series.baseline) if series.baseline else None
        if base is None:
            return list(series.values)
        return [a - b for a, b in zip(series.values, base.values, strict=True)]

    def values(self, name: str, *, net: bool) -> list[float] | None:
        """The values of a series, net of its baseline or as measured."""
        if net:
            return self.net(name)
        series = self.find(name)
        return None if series is None else series.values


@dataclass
class Run:
    """One result file."""

    created: str
    commit: str = ""
    label: str = ""
    quick: bool = False
    complete: bool = True
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    benchmarks: list[Benchmark] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What a reader calls it: the label, else the commit, else the time."""
        return self.label or self.commit or self.created

    def find(self, benchmark: str) -> Benchmark | None:
        """The benchmark of this id."""
        return next((one for one in self.benchmarks if one.id == benchmark), None)

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file whole or not at all. Raises `OutputError`."""
        target = Path(path)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(
                f"the results were not written: {error.strerror}", file=path
            ) from error


class _Reader:
    """Takes a decoded file apart; every complaint names the file and the place."""

    def __init__(self, file: str) -> None:
        self.file = file

    def refuse(self, place: str, found: Any, expected: str) -> InputError:
        text = repr(found)
        return InputError(
            f"not a result file of pktfilter bench: {place}",
            file=self.file,
            found=text if len(text) <= 60 else text[:57] + "...",
            expected=expected,
        )

    def table(self, value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refuse(place, value, "an object")
        return value

    def many(self, value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > _MOST:
            raise self.refuse(place, value, f"a list of at most {_MOST:,} entries")
        return value

    def text(self, value: Any, place: str) -> str:
        if not isinstance(value, str) or len(value) > _TEXT:
            raise self.refuse(place, value, "text")
        # Lone surrogates cannot be written again, control characters have no place in a page.
        clean = value.encode("utf-8", "replace").decode("utf-8")
        return "".join(c if c >= " " and c != "\x7f" else " " for c in clean)

    def flag(self, value: Any, place: str) -> bool:
        if not isinstance(value, bool):
            raise self.refuse(place, value, "true or false")
        return value

    def number(self, value: Any, place: str) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not abs(value) < 1e18 or not math.isfinite(value):
            raise self.refuse(place, value, "a finite number")
        # What is smaller is no measurement, and would overflow a ratio.
        return float(value) if abs(value) >= _LEAST else 0.0

    def numbers(self, value: Any, place: str) -> list[float]:
        return [self.number(v, f"{place}[{i}]") for i, v in enumerate(self.many(value, place))]

    def texts(self, value: Any, place: str) -> dict[str, str]:
        return {
            self.text(k, place): self.text(v, f"{place}.{k}")
            for k, v in self.table(value, place).items()
        }

    def skipped(self, value: Any, place: str) -> list[Skipped]:
        rows = [self.table(v, f"{place}[{i}]") for i, v in enumerate(self.many(value, place))]
        return [
            Skipped(self.text(row.get("name"), place), self.text(row.get("reason"), place))
            for row in rows
        ]

    def series(self, value: Any, place: str) -> Series:
        row = self.table(value, place)
        role = row.get("role")
        if role not in ROLES:
            raise self.refuse(f"{place}.role", role, " or ".join(ROLES))
        base = row.get("baseline")
        values = self.numbers(row.get("values"), f"{place}.values")
        if not values:
            raise self.refuse(f"{place}.values", values, "at least one value")
        return Series(
            self.text(row.get("name"), f"{place}.name"),
            role,
            values,
            None if base is None else self.text(base, f"{place}.baseline"),
        )

    def benchmark(self, value: Any, place: str) -> Benchmark:
        row = self.table(value, place)
        series = [
            self.series(v, f"{place}.series[{i}]")
            for i, v in enumerate(self.many(row.get("series"), f"{place}.series"))
        ]
        names = [one.name for one in series]
        if len(set(names)) != len(names):
            raise self.refuse(f"{place}.series", names, "series with different names")
        if len({len(one.values) for one in series}) > 1:
            counts = [len(one.values) for one in series]
            raise self.refuse(
                f"{place}.series", counts, "the same number of values in every series"
            )

        def known(name: Any, where: str) -> str:
            if name not in names:
                raise self.refuse(where, name, "the name of one of its series")
            return str(name)

        for one in series:
            if one.baseline is not None:
                known(one.baseline, f"{place}.series.baseline")
        ratios = []
        for i, v in enumerate(self.many(row.get("ratios", []), f"{place}.ratios")):
            where = f"{place}.ratios[{i}]"
            entry = self.table(v, where)
            limit = entry.get("limit")
            ratios.append(
                Ratio(
                    known(entry.get("over"), where),
                    known(entry.get("under"), where),
                    self.flag(entry.get("net", False), f"{where}.net"),
                    None if limit is None else self.number(limit, f"{where}.limit"),
                    self.flag(entry.get("main", False), f"{where}.main"),
                )
            )
        bounds = []
        for i, v in enumerate(self.many(row.get("bounds", []), f"{place}.bounds")):
            where = f"{place}.bounds[{i}]"
            entry = self.table(v, where)
            minus = entry.get("minus")
            bounds.append(
                Bound(
                    known(entry.get("series"), where),
                    self.number(entry.get("limit"), f"{where}.limit"),
                    None if minus is None else known(minus, where),
                )
            )
        return Benchmark(
            id=self.text(row.get("id"), f"{place}.id"),
            group=self.text(row.get("group"), f"{place}.group"),
            title=self.text(row.get("title"), f"{place}.title"),
            unit=self.text(row.get("unit"), f"{place}.unit"),
            higher=self.flag(row.get("higher", False), f"{place}.higher"),
            note=self.text(row.get("note", ""), f"{place}.note"),
            partial=self.flag(row.get("partial", False), f"{place}.partial"),
            load=self.numbers(row.get("load", []), f"{place}.load"),
            calibration_ns=self.numbers(row.get("calibration_ns", []), f"{place}.calibration_ns"),
            series=series,
            ratios=ratios,
            bounds=bounds,
            skipped=self.skipped(row.get("skipped", []), f"{place}.skipped"),
            facts=self.texts(row.get("facts", {}), f"{place}.facts"),
        )

    def run(self, value: Any) -> Run:
        top = self.table(value, "the file")
        if top.get("format") != FORMAT:
            raise self.refuse("format", top.get("format"), FORMAT)
        if top.get("version") != VERSION:
            raise InputError(
                "the results are of another version of the format",
                file=self.file,
                found=repr(top.get("version"))[:60],
                expected=VERSION,
                hint="measure again with this version",
            )
        benchmarks = [
            self.benchmark(v, f"benchmarks[{i}]")
            for i, v in enumerate(self.many(top.get("benchmarks"), "benchmarks"))
        ]
        ids = [one.id for one in benchmarks]
        if len(set(ids)) != len(ids):
            raise self.refuse("benchmarks", "an id twice", "benchmarks with different ids")
        return Run(
            created=self.text(top.get("created"), "created"),
            commit=self.text(top.get("commit", ""), "commit"),
            label=self.text(top.get("label", ""), "label"),
            quick=self.flag(top.get("quick", False), "quick"),
            complete=self.flag(top.get("complete", True), "complete"),
            machine=self.texts(top.get("machine", {}), "machine"),
            versions=self.texts(top.get("versions", {}), "versions"),
            warnings=[
                self.text(v, "warnings") for v in self.many(top.get("warnings", []), "warnings")
            ],
            skipped=self.skipped(top.get("skipped", []), "skipped"),
            benchmarks=benchmarks,
        )


def load_run(path: str | os.PathLike[str]) -> Run:
    """Reads a result file. Raises `InputError` with file, place, what was found and what was expected."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"the results cannot be read: {error.strerror}", file=name) from error
    if len(data) > FILE_LIMIT:
        raise InputError(
            "the result file is too large", file=name, expected=f"at most {FILE_LIMIT:,} bytes"
        )
    reader = _Reader(name)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "the file"
        raise InputError(
            f"not a result file of pktfilter bench: {place} is not JSON",
            file=name,
            expected="what `pktfilter bench -o FILE` wrote",
        ) from error
    return reader.run(value)
