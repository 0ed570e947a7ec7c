"""The C tests of the core, built here with the machine's compiler and run one by one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from readers import shared_folder

HERE = Path(__file__).parent / "c"
TESTS = sorted(path.stem for path in HERE.glob("test_*.c"))

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or shutil.which("gcc") is None,
    reason="the C tests need make and gcc",
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every C test, compiled with warnings as errors."""
    build = tmp_path_factory.mktemp("c")
    done = subprocess.run(
        ["make", "-s", f"-j{os.cpu_count()}", f"BUILD={build}", "all"],
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return build


@pytest.mark.parametrize("name", TESTS)
def test_c(built: Path, name: str) -> None:
    done = subprocess.run([built / name], capture_output=True, text=True, timeout=120, cwd=built)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_isa_vectors_in_both_builds(built: Path) -> None:
    """The conformance vectors in the checked and in the unchecked build of the interpreter."""
    vectors = shared_folder() / "isa" / "vectors.jsonl"
    if not vectors.is_file():
        pytest.skip("no shared vectors: set PKTFILTER_SHARED or place them beside the repository")
    text = built / "vectors.txt"
    where = {**os.environ, "PKTFILTER_SHARED": str(shared_folder())}
    subprocess.run([sys.executable, HERE / "vectors.py", text], check=True, env=where)
    assert len([line for line in text.read_text().splitlines() if " run " in line]) >= 312
    done = subprocess.run(
        [built / "test_vm_ops", text], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "skipped" not in done.stdout


def test_captures_under_sanitizers(tmp_path: Path) -> None:
    """Every capture at hand, damaged ones first, through the reader under ASan and UBSan."""
    done = subprocess.run(
        ["make", "-s", f"BUILD={tmp_path}", "files"],
        cwd=HERE.parent.parent / "fuzz",
        capture_output=True,
        text=True,
    )
    if done.returncode and "cannot find" in done.stderr:
        pytest.skip("the compiler has no sanitizer runtime")
    assert done.returncode == 0, done.stderr[-4000:]
    captures = sorted(HERE.parent.parent.joinpath("pcaps").glob("*.pcap*"))
    captures += sorted(shared_folder().glob("pcaps/hostile/*"))
    captures += sorted(shared_folder().glob("pcaps/pcapng/*"))
    done = subprocess.run(
        [tmp_path / "files_reader", *captures], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-4000:]
