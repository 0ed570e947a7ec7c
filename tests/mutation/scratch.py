"""A scratch copy of the project in which one source at a time is mutated, built and tested."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from targets import Campaign, CTests, PythonTests, Stage

# What the stages need; symbolic links and build products of the checkout are not copied.
COPIED = ("csrc", "tests", "fuzz", "examples", "pcaps", "pktfilter", "pyproject.toml", "README.md")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-DPF_DEBUG", "-O2", "-w", "-fPIC", "-Icsrc", "-pthread"]
MEMORY_KIB = 4 << 20  # of address space of a test, where no sanitizer reserves more
SLOWER = 4  # times the CPU time of the unmutated program, and then some seconds, count as a hang
SECONDS = 2


class BuildError(Exception):
    """The unmutated project does not build or does not pass; the message says where."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: "" if it passed, else the exit status, signal, or "timeout"."""

    failure: str
    seconds: float


@dataclass(frozen=True)
class Command:
    """What a stage runs. A program with a digest passes or fails by its own code alone."""

    name: str
    words: Sequence[str | Path]
    limited: bool = True
    digest: str = ""


# Limits that a shell sets hold from the first instruction of what it becomes.
_LIMITED = 'ulimit -c 0; ulimit -t "$1"; [ "$2" = 0 ] || ulimit -v "$2"; shift 2; exec "$@"'
_KILLED = (-9, -24)  # SIGKILL, SIGXCPU


def run(command: Command, cwd: Path, cpu: float, tail: Path) -> Outcome:
    """Runs with at most ``cpu`` seconds of CPU (and six times that of waiting)."""
    limits = [str(max(1, round(cpu))), str(MEMORY_KIB if command.limited else 0)]
    env = {
        **os.environ,
        "ASAN_OPTIONS": "hard_rss_limit_mb=4096",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(cwd / "tests"),
    }
    with tail.open("wb") as out:
        child = subprocess.Popen(
            ["sh", "-c", _LIMITED, "sh", *limits, *command.words],
            cwd=cwd,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        started = time.monotonic()
        used: resource.struct_rusage | None = None
        while used is None:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                used = usage
            elif time.monotonic() - started > cpu * 6:
                os.killpg(child.pid, 9)
                status, used = os.wait4(child.pid, 0)[1:]
            else:
                time.sleep(0.01)
    child.returncode = os.waitstatus_to_exitcode(status)
    spent = used.ru_utime + used.ru_stime
    if child.returncode in _KILLED:
        return Outcome("timeout", spent)
    return Outcome(f"status {child.returncode}" if child.returncode else "", spent)


class Tree:
    """One scratch copy. Only one mutant at a time is in it."""

    def __init__(self, root: Path, where: Path) -> None:
        self.root, self.where, self.model = root, where, where
        self.stage_cpu: dict[str, float] = {}  # seconds, by name of the command
        self.passing: set[str] = set()  # digests of programs that are known to pass
        self.headers: dict[tuple[str, str], frozenset[str]] = {}  # read by a source, and variant
        self.hashes: dict[str, str] = {}  # of the unmutated plain objects
        where.mkdir(parents=True)
        for name in COPIED:
            if (root / name).is_dir():
                ignore = shutil.ignore_patterns("build", "__pycache__", "mutation")
                shutil.copytree(root / name, where / name, ignore=ignore)
            else:
                shutil.copy(root / name, where / name)
        for path in sorted((where / "csrc").rglob("*")):
            if path.name.endswith("_test.c"):
                path.unlink()

    def clone(self, where: Path) -> Tree:
        """Another copy, built as this one is. Objects hold no path, so that they need no rebuild."""
        shutil.copytree(self.where, where, symlinks=True)
        other = copy.copy(self)
        other.where, other.model, other.headers = where, self.where, dict(self.headers)
        return other

    def core(self, layers: Sequence[str] = ()) -> list[str]:
        """The sources of some folders of the core, or of all."""
        found = sorted(str(p.relative_to(self.where)) for p in (self.where / "csrc").rglob("*.c"))
        return [s for s in found if not layers or s.split("/")[1] in layers]

    def object(self, source: str, sanitize: str) -> Path:
        kind = sanitize.replace(",", "-") or "plain"
        return self.where / "build" / kind / (source.replace("/", "_") + ".o")

    def compile(self, source: str, sanitize: str) -> bool:
        """Makes the object of a source and notes which files it reads; False if it is no C."""
        out = self.object(source, sanitize)
        out.parent.mkdir(parents=True, exist_ok=True)
        flags = [*FLAGS, "-fvisibility=hidden"]
        if sanitize:
            flags += ["-O1", f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"]
        command = ["gcc", *flags, "-MMD", "-MF", f"{out}.d", "-c", source, "-o", str(out)]
        done = subprocess.run(command, cwd=self.where, capture_output=True)
        if done.returncode:
            return False
        words = Path(f"{out}.d").read_text().replace("\\\n", " ").split()[1:]
        names = {os.path.normpath(w) for w in words}
        self.headers[source, sanitize] = frozenset(names)
        return True

    def link(self, sources: Sequence[str], sanitize: str, out: Path, extra: Sequence[str]) -> None:
        objects = []
        for source in sources:
            made = self.object(source, sanitize)
            if not made.exists() and not self.compile(source, sanitize):
                raise BuildError(f"{source} does not compile")
            objects.append(str(made))
        # From a library a program gets what it uses; without use of a mutant it stays the same.
        first, rest = (objects, []) if "-shared" in extra else (objects[:1], objects[1:])
        library = out.with_suffix(".a")
        if rest:
            library.unlink(missing_ok=True)
            subprocess.run(["ar", "rcsT", library, *rest], cwd=self.where, check=True)
            first.append(str(library))
        flags = [f"-fsanitize={sanitize}"] if sanitize else []
        command = ["gcc", *flags, *first, "-o", str(out), "-pthread", *extra, "-lm"]
        done = subprocess.run(command, cwd=self.where, capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"{out.name} does not link: {done.stderr[-500:]}")

    def digest(self, source: str) -> str:
        return hashlib.sha256(self.object(source, "").read_bytes()).hexdigest()

    def readers(self, file: str, sanitize: str) -> list[str]:
        """The compiled sources that a file is part of."""
        return [
            s for (s, kind), names in self.headers.items() if kind == sanitize and file in names
        ]

    def put(self, file: str, text: str) -> bool:
        """Writes a mutated (or the original) file and compiles the core anew; False: no C."""
        (self.where / file).write_text(text)
        for sanitize in {kind for _, kind in self.headers}:
            for source in self.readers(file, sanitize):
                self.object(source, sanitize).unlink(missing_ok=True)
        # The plain core tells whether the mutant is one; the rest is made when a stage wants it.
        return all(self.compile(s, "") for s in self.readers(file, "") if s.startswith("csrc/"))

    def keep(self, file: str, where: Path) -> None:
        """Keeps the plain objects that a mutant of the file made, for :meth:`take`."""
        where.mkdir(parents=True)
        for source in self.readers(file, ""):
            made = self.object(source, "")
            if made.exists():
                shutil.copy(made, where)

    def take(self, file: str, text: str, where: Path) -> None:
        """Like :meth:`put`, with objects that some clone has kept."""
        (self.where / file).write_text(text)
        for kind in {kind for _, kind in self.headers}:
            for source in self.readers(file, kind):
                self.object(source, kind).unlink(missing_ok=True)
        for kept in where.iterdir():
            shutil.copy(kept, self.where / "build" / "plain")

    def restore(self, file: str) -> None:
        """The unmutated file again, with the objects of the tree that this one is a clone of."""
        shutil.copy(self.root / file, self.where / file)
        for kind in {kind for _, kind in self.headers}:
            for source in self.readers(file, kind):
                made = self.object(source, kind)
                kept = self.model / made.relative_to(self.where)
                if kept.exists():
                    shutil.copy(kept, made)
                else:
                    made.unlink(missing_ok=True)

    def commands(self, stage: Stage) -> list[Command]:
        """Builds what a stage runs."""
        bin_dir = self.where / "build" / "bin"
        bin_dir.mkdir(parents=True, exist_ok=True)
        if isinstance(stage, PythonTests):
            library = self.where / "pktfilter" / "_core" / "libpktfilter.so"
            soname = f"-Wl,-soname,{library.name}"
            self.link(self.core(), "", library, ["-shared", soname])
            files = sorted(
                str(p.relative_to(self.where)) for f in stage.files for p in self.where.glob(f)
            )
            plugins = ["-p", "no:cacheprovider"]
            for name in stage.plugins:
                shutil.copy(
                    self.root / f"tests/mutation/{name}.py", self.where / f"tests/{name}.py"
                )
                plugins += ["-p", name]
            pytest: list[str | Path] = [sys.executable, "-m", "pytest", "-q", "-x", *plugins]
            return [Command("pytest", [*pytest, *files])]
        if isinstance(stage, Campaign):
            parts = sorted(
                str(p.relative_to(self.where)) for p in self.where.glob("fuzz/campaign*.c")
            )
            out = bin_dir / "campaign"
            self.link([*parts, *self.core(stage.layers)], "", out, [])
            options = f"--facts --stop-on-finding --seed {stage.seed} --programs {stage.programs}"
            corpus = self.where / "build" / "corpus.bin"
            return [Command("campaign", [out, *options.split(), "--corpus", corpus])]
        rows = []
        for test in self.c_tests(stage):
            out = bin_dir / (Path(test).stem + "_" + (stage.sanitize.replace(",", "_") or "plain"))
            included = self.included(test)
            core = [s for s in self.core(stage.layers) if s not in included]
            self.link([test, *core], stage.sanitize, out, self.wrapped(test))
            name = f"{stage.name}:{Path(test).stem}"
            digest = hashlib.sha256(out.read_bytes()).hexdigest()
            rows.append(Command(name, [out], not stage.sanitize, digest))
        return rows

    def c_tests(self, stage: CTests) -> list[str]:
        found = {p for pattern in stage.patterns for p in self.where.glob(f"tests/c/{pattern}")}
        return sorted(str(p.relative_to(self.where)) for p in found)

    def included(self, test: str) -> set[str]:
        """Sources of the core that a test has within itself."""
        text = (self.where / test).read_text()
        return {f"csrc/{name}" for name in re.findall(r'^#include "([\w/]+\.c)"', text, re.M)}

    def wrapped(self, test: str) -> list[str]:
        """Linker flags of a test, as in the tests' own Makefile."""
        text = (self.where / "tests/c/Makefile").read_text()
        name = re.escape(Path(test).stem.removeprefix("test_"))
        found = re.search(rf"^LDFLAGS_{name} := (.+)$", text, re.M)
        return found[1].split() if found else []

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Builds everything unmutated, and measures what each stage needs. Raises BuildError."""
        wanted = {("", source) for source in self.core()}
        for stage in stages:
            if isinstance(stage, CTests):
                wanted |= {(stage.sanitize, source) for source in self.core(stage.layers)}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for kind, source, done in pool.map(lambda w: (*w, self.compile(w[1], w[0])), wanted):
                if not done:
                    raise BuildError(f"{source} does not compile ({kind or 'plain'})")
        self.hashes = {source: self.digest(source) for source in self.core()}
        if any(isinstance(stage, Campaign) for stage in stages):
            maker = ["fuzz/campaign_corpus.py", "build/corpus.bin"]
            env = {**os.environ, "PYTHONPATH": str(self.where)}
            done = subprocess.run(
                [sys.executable, *maker], cwd=self.where, env=env, capture_output=True, text=True
            )
            if done.returncode:
                raise BuildError(f"the campaign's corpus: {done.stderr[-500:]}")
        for stage in stages:
            for command in self.commands(stage):
                tail = self.where / "build" / "tail"
                outcome = run(command, self.where, 600, tail)
                if outcome.failure:
                    text = tail.read_text(errors="replace")[-2000:]
                    raise BuildError(f"{command.name} fails unmutated ({outcome.failure}):\n{text}")
                self.stage_cpu[command.name] = outcome.seconds
                if command.digest:
                    self.passing.add(command.digest)

    def judge(self, stages: Sequence[Stage]) -> tuple[str, str]:
        """The name of what killed the mutant in the tree and how, or ("", "")."""
        for stage in stages:
            try:
                rows = self.commands(stage)
            except BuildError as error:
                return stage.name, str(error).splitlines()[0]
            for command in rows:
                if command.digest in self.passing:
                    continue
                cpu = SLOWER * self.stage_cpu[command.name] + SECONDS
                outcome = run(command, self.where, cpu, self.where / "build" / "tail")
                if outcome.failure:
                    return command.name, outcome.failure
        return "", ""
