"""The rules of the house, enforced: layering, one statement of each fact, sizes, words, names."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pktfilter

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"

# A file may include its own layer's directory and those to its left; siblings stand in one tuple
# entry only where neither may include the other.
C_MAY_INCLUDE = {
    "tables": set(),
    "isa": {"tables"},
    "rcu": {"tables"},
    "map": {"tables", "rcu"},
    "packet": {"tables"},
    "prog": {"tables", "isa", "rcu", "map"},
    "helper": {"tables", "isa", "rcu", "map", "packet", "prog"},
    "verifier": {"tables", "isa", "rcu", "map", "prog"},
    "vm": {"tables", "isa", "rcu", "map", "packet", "prog", "helper"},
    "native": {"tables", "isa", "rcu", "map", "packet", "prog", "helper", "vm"},
    "hook": {"tables", "isa", "rcu", "map", "packet", "prog", "helper", "vm"},
    "io": {"tables", "packet"},
    "run": {"tables", "isa", "rcu", "map", "packet", "prog", "helper", "vm", "hook"},
}

# Rank of each top-level Python module or package; imports go to lower or equal ranks only.
PY_RANK = {
    "errors": 0,
    "_core": 1,
    "objects": 2,
    "expressions": 2,
    "assembler": 2,
    "disasm": 2,
    "network": 2,
    "diagnostics": 2,
    "jit": 2,
    "handles": 3,
    "vm": 4,
    "sources": 4,
    "sinks": 4,
    "generate_flows": 4,
    "generate_profiles": 4,
    "generate": 4,
    "session": 5,
    "insight": 5,
    "report": 5,
    "control": 5,
    "report_swap": 5,
    "report_live": 5,
    "benchmarks": 5,
    "report_timing": 5,
    "testing": 6,
    "pytest_plugin": 6,
    "cli": 6,
    "__main__": 7,
    "__init__": 7,
}

# Larger files, each with its reason.
LARGE = {
    "csrc/tables/insn.def": "one row an instruction",
    "csrc/tables/helper.def": "one row a helper",
    "csrc/helper/exec.h": "everything that a running program stands on, with its invariants",
    "csrc/map/map_impl.h": "word copies and locks that every family inlines",
    "csrc/verifier/work.h": "saved states and working memory in one place",
    "fuzz/campaign.h": "what the parts of the campaign share",
    "fuzz/campaign_gen.c": "the weights of the generator in one place",
    "csrc/verifier/lane.h": "one width of the number domain, compiled for 64, 32 and the tests' small ones",
    "csrc/vm/loop.h": "the interpreter's loop, one source for three builds",
    "tests/kernel.py": "the ctypes layouts of one system call",
}
LIMITS = {".c": 500, ".h": 150, ".py": 400, ".pyx": 400, ".def": 250}
FUNCTION_LINES = 70

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|placeholder|stub)\b")
MACHINE_PATH = re.compile(r"(^|[^a-z.])/(work|root|home/[a-z]+)/")


def tracked(*suffixes: str) -> list[Path]:
    """Files of the project by suffix: what git tracks or would, or all where there is no git."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so there is no list of the project's files")
    return [ROOT / name for name in listing if name.endswith(suffixes) and (ROOT / name).is_file()]


def c_sources() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in (".c", ".h", ".def"))


def code_only(text: str) -> str:
    """C text without comments and string literals, line structure kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: "\n" * m.group().count("\n"), text)


@pytest.mark.parametrize("path", c_sources(), ids=lambda p: str(p.relative_to(CSRC)))
def test_c_includes_go_one_way(path: Path) -> None:
    layer = path.relative_to(CSRC).parts[0]
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M):
        target = (path.parent / name).resolve()
        if not target.exists():
            target = (CSRC / name).resolve()
        assert target.exists(), f"{path}: includes {name}, which does not exist"
        other = target.relative_to(CSRC).parts[0]
        assert other == layer or other in C_MAY_INCLUDE[layer], (
            f"{layer} must not include {other} ({name})"
        )
        assert target.suffix != ".c", f"{path} includes the source file {name}"


def test_every_layer_has_a_rule() -> None:
    assert {p.name for p in CSRC.iterdir() if p.is_dir()} <= set(C_MAY_INCLUDE)


@pytest.mark.parametrize("path", c_sources(), ids=lambda p: str(p.relative_to(CSRC)))
def test_core_is_pure_c(path: Path) -> None:
    code = code_only(path.read_text()).replace("format(printf,", "")
    assert "Python.h" not in path.read_text()
    used = re.findall(r"\b(f?printf|puts|fputs|fopen|fwrite|perror|stdout|stderr|FILE)\b", code)
    assert not used, f"the library has no stdio: {used}"
    if path.suffix == ".c":
        mutable = [
            line
            for line in code.splitlines()
            if re.match(r"static\s+(?!inline\b|const\b|_Thread_local\b|void\b.*\()", line)
            and "(" not in line.split("=")[0]
            and not re.search(r"\bconst\b", line)
            and re.search(r"[;={\[]", line)
        ]
        assert not mutable, f"mutable statics: {mutable}"


def test_headers_open_with_what_they_are() -> None:
    for path in CSRC.rglob("*.h"):
        text = path.read_text()
        assert text.startswith(f"/* {path.name} - "), f"{path} does not open with what it is"
        opening = text[: text.index("*/")]
        if path.name in (
            "tables.h",
            "isa.h",
            "rcu.h",
            "map.h",
            "prog.h",
            "packet.h",
            "exec.h",
            "vm.h",
            "hook.h",
            "run.h",
            "reader.h",
            "writer.h",
            "block.h",
            "ring.h",
            "transmit.h",
            "generations.h",
            "binding.h",
            "ref.h",
        ):
            assert "Invariants" in opening, f"{path} states no invariants"
            assert re.search(r"[Tt]hread|worker", opening), f"{path} does not say who may call"


def test_typedefs_hide_no_struct() -> None:
    for path in CSRC.rglob("*.h"):
        assert not re.search(
            r"typedef\s+(struct|enum|union)\s+\w*\s*(\{|\w+\s*;)", code_only(path.read_text())
        ), path


def test_symbols_have_the_project_prefix_and_one_definition() -> None:
    owners: dict[str, set[str]] = {}
    for path in CSRC.rglob("*.c"):
        code = code_only(path.read_text())
        for name in re.findall(
            r"^(?!static|INLINE|#|typedef|\s)[\w\s\*]*?\b(\w+)\([^;{]*\)\s*\{", code, re.M
        ):
            owners.setdefault(name, set()).add(str(path.relative_to(CSRC)))
    for name, files in owners.items():
        if name.isupper() or name == "__attribute__":
            continue  # a macro that makes definitions; an attribute in front of one
        assert name.startswith("pf_"), f"{name} in {files} lacks the prefix"
        assert len(files) == 1, f"{name} is defined in {files}"
    assert len(owners) > 50


def test_table_switches_have_no_default() -> None:
    """A switch that draws its cases from a table must fail to compile when a row is added."""
    for path in CSRC.rglob("*.[ch]"):
        text = path.read_text()
        for match in re.finditer(r"switch\s*\([^{]*\{", text):
            depth, end = 1, match.end()
            while depth and end < len(text):
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            body = code_only(text[match.end() : end])
            if ".def" in text[match.end() : end]:
                assert not re.search(r"\bdefault\s*:", body), (
                    f"{path}: a table switch with a default"
                )


def _module_rank(path: Path) -> tuple[str, int]:
    top = path.relative_to(ROOT / "pktfilter").parts[0].removesuffix(".py").removesuffix(".pyx")
    assert top in PY_RANK, f"{path}: give the module a place in PY_RANK"
    return top, PY_RANK[top]


def _imports(path: Path) -> set[str]:
    """Top-level pktfilter modules that a Python file imports, wherever in the file."""
    package = ["pktfilter", *path.relative_to(ROOT / "pktfilter").parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        found |= {name[1] for name in names if len(name) > 1 and name[0] == "pktfilter"}
    return found


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pktfilter").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_python_imports_go_one_way(path: Path) -> None:
    top, rank = _module_rank(path)
    for name in _imports(path):
        other = PY_RANK.get(name)
        if name == top or other is None:
            continue  # a name of the package itself, checked where it is defined
        assert other <= rank, f"{path.name} ({top}) must not import {name}"


def test_core_bindings_know_only_errors() -> None:
    for path in (ROOT / "pktfilter" / "_core").glob("*.py[xd]"):
        if path.suffix not in (".pyx", ".pxd"):
            continue
        text = path.read_text()
        assert not re.search(r"^\s*include\s", text, re.M), f"{path}: textual include"
        for name in re.findall(r"^from pktfilter\.(\w+)|^from pktfilter import (\w+)", text, re.M):
            assert (name[0] or name[1]) in ("_core", "errors"), f"{path} imports {name}"


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; import pktfilter, pktfilter.cli; pktfilter.load; "
        "print(sorted(m for m in ('numpy', 'rich', 'scapy', 'zstandard', 'lz4', 'lzma') if m in sys.modules))"
    )
    where = {**os.environ, "PYTHONPATH": str(Path(pktfilter.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/", env=where
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("suffix", LIMITS)
def test_file_sizes(suffix: str) -> None:
    for path in tracked(suffix):
        name = str(path.relative_to(ROOT))
        if name.startswith(("examples/", "tests/programs/", "tests/objects/")) or name in LARGE:
            continue
        limit = LIMITS[suffix] + (
            200 if name.startswith(("tests/", "bench/")) and suffix in (".py", ".c", ".h") else 0
        )
        lines = len(path.read_text().splitlines())
        assert lines <= limit, (
            f"{name} has {lines} lines, more than {limit}: split it or give a reason"
        )


def test_c_function_sizes() -> None:
    for path in CSRC.rglob("*.c"):
        start = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                assert number - start <= FUNCTION_LINES, (
                    f"{path}:{start}: a function of {number - start} lines"
                )
                start = None


def test_the_captures_are_those_that_their_readme_names() -> None:
    """A fuzzer writes what it finds into the first folder it is given, and that is no place for it."""
    folder = ROOT / "pcaps"
    readme = (folder / "README.md").read_text()
    captures = [path.name for path in tracked("") if path.parent == folder]
    assert len(captures) > 5
    assert [name for name in captures if name not in readme and name != "README.md"] == []


def test_no_unfinished_words_and_no_machine_paths() -> None:
    for path in tracked(
        ".c", ".h", ".def", ".py", ".pyx", ".pxd", ".md", ".toml", ".sh", "Makefile"
    ):
        text = path.read_text()
        if path != Path(__file__):
            assert not UNFINISHED.search(text), f"{path}: {UNFINISHED.search(text)}"
            assert not MACHINE_PATH.search(text), f"{path}: {MACHINE_PATH.search(text)}"


def test_dependencies_name_their_purpose() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for line in re.findall(r'^\s+"[\w-]+[><=].*$', text, re.M):
        requirement = line.strip().strip('",')
        if requirement.startswith(("Cython", "setuptools", "wheel")):
            continue
        assert "#" in line, f"{requirement} does not say what it is for"
