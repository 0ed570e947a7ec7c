"""The 64-instruction filter: both builds of the interpreter beside librte_bpf's, in one process."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from statistics import median

import pytest
from measure import machine
from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).parent.parent
RUNS = 10
FLAGS = ["-std=gnu11", "-O3", "-D_GNU_SOURCE", "-Icsrc", "-fno-gcse", "-fno-crossjumping"]
"""As setup.py compiles the interpreter."""


def _dpdk() -> tuple[str, list[str]]:
    """Version and compiler flags of DPDK; skips the test where it is not."""
    if not shutil.which("pkg-config") or not shutil.which("cc"):
        pytest.skip("pkg-config and a C compiler are needed")
    version = subprocess.run(
        ["pkg-config", "--modversion", "libdpdk"], capture_output=True, text=True, check=False
    )
    if version.returncode:
        pytest.skip("DPDK is not installed (Debian: libdpdk-dev)")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True, check=True
    )
    return version.stdout.strip(), flags.stdout.split()


@pytest.mark.timeout(600)
def test_filter_against_librte_bpf(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    version, flags = _dpdk()
    program = tmp_path / "dpdk_vm"
    sources = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "csrc").rglob("*.c"))]
    subprocess.run(
        [
            *["cc", *FLAGS, *flags, "-march=native", *sources, "bench/dpdk_vm.c"],
            *["-o", str(program), "-lrte_bpf", "-lrte_eal", "-pthread"],
        ],
        cwd=ROOT,
        check=True,
    )
    outputs: list[dict[str, float]] = []

    def run() -> None:
        text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        outputs.append(json.loads(text))

    benchmark.pedantic(run, rounds=RUNS)
    values = {name: [output[name] for output in outputs] for name in outputs[0]}
    benchmark.extra_info.update(
        machine(),
        dpdk=version,
        runs=RUNS,
        **{
            name: {"median": round(median(v), 3), "min": min(v), "max": max(v)}
            for name, v in values.items()
        },
    )
    assert median(values["unchecked_to_dpdk"]) <= 0.8
    assert median(values["checked_to_unchecked"]) <= 2.0
