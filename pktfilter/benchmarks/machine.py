"""What figures depend on: processor, clock, kernel, versions, and whether anything else is running."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

#: Load averages above this share of the processors mean that others compute, too.
BUSY = 0.3
_PACKAGES = ("numpy", "llvmlite", "cypcap", "dpkt", "scapy", "pytest-benchmark")
_CALIBRATION = bytes(range(256)) * 1024


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def machine() -> dict[str, str]:
    """Processor, flags, caches, governor, memory, kernel; empty where the system does not say."""
    lines = [line.split(":", 1) for line in _read("/proc/cpuinfo").splitlines() if ":" in line]
    cpu: dict[str, str] = {}
    for key, value in lines:
        cpu.setdefault(key.strip(), value.strip())
    caches = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = _read(f"{folder}/type")
        caches.append(
            f"L{_read(f'{folder}/level')}{kind[:1].lower() if kind != 'Unified' else ''} {_read(f'{folder}/size')}"
        )
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    memory = next(
        (line.split()[1] for line in _read("/proc/meminfo").splitlines() if "MemTotal" in line), ""
    )
    return {
        "processor": cpu.get("model name", platform.processor()),
        "processors": str(os.cpu_count()),
        "clock_mhz": cpu.get("cpu MHz", ""),
        "governor": governor or "not shown by this system",
        "virtual": "yes" if "hypervisor" in cpu.get("flags", "").split() else "no",
        "caches": ", ".join(caches),
        "memory_mib": str(int(memory) // 1024) if memory.isdigit() else "",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu_flags": cpu.get("flags", ""),
    }


def versions() -> dict[str, str]:
    """Of pktfilter, Python and whatever else is measured, as installed; "none" where it is not."""
    found = {"python": platform.python_version()}
    for package in ("pktfilter", *_PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none" if package != "pktfilter" else "source tree"
    found["tcpdump"] = _first_line(["tcpdump", "--version"]) or "none"
    found["dpdk"] = _first_line(["pkg-config", "--modversion", "libdpdk"]) or "none"
    found["compiler"] = _first_line(["cc", "--version"]) or "none"
    return found


def commit() -> str:
    """Of the source tree that pktfilter runs from, with "+" for changes; empty outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    named = _first_line(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    changed = _first_line(["git", "-C", str(root), "status", "--porcelain", "-uno"])
    return named + ("+" if named and changed else "")


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def warnings() -> list[str]:
    """One sentence for each thing about the machine that makes figures less sure."""
    found = []
    load, cpus = load_average(), os.cpu_count() or 1
    if load > BUSY * cpus:
        found.append(
            f"the machine is busy: load average {load:.2f} on {cpus} processor{'s' * (cpus > 1)} "
            "before the first round; ratios hold, absolute times are high"
        )
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor and governor != "performance":
        found.append(f"the frequency governor is '{governor}': the clock may change between rounds")
    if hasattr(sys, "gettrace") and sys.gettrace() is not None:
        found.append("a debugger or a coverage tool traces this process")
    return found


def calibrate(clock: Callable[[], int] = time.thread_time_ns) -> float:
    """Nanoseconds of processor time of a fixed computation: how fast the machine is just now.

    SHA-256 over 256 KiB: code of the platform, which pktfilter does not change. The median of five.
    """
    import hashlib

    taken = []
    for _ in range(5):
        start = clock()
        hashlib.sha256(_CALIBRATION).digest()
        taken.append(clock() - start)
    return float(sorted(taken)[2])
