"""The cache of compiled objects: what it refuses and what it survives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import DEMO, ENVIRONMENT, EXAMPLES
from commandline import run as command

from pktfilter.jit import cache

FIRST = "1" * 64
SECOND = "2" * 64
PATHS = {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}
CODE = bytes(range(256)) * 20
STRANGER = 12345
root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user needs root")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the cache is to be; the first store creates it."""
    path = tmp_path / "cache"
    monkeypatch.setenv("PKTFILTER_CACHE", str(path))
    monkeypatch.delenv("PKTFILTER_CACHE_SIZE", raising=False)
    return path


def put(key: str = FIRST, code: bytes = CODE) -> None:
    assert cache.store(key, code) is None


def file_of(folder: Path, key: str = FIRST) -> Path:
    return folder / f"{key}.o"


def refused(*words: str) -> None:
    """The cache is off for a reason with these words, and touches nothing."""
    reason = cache.status().reason
    assert reason is not None
    assert all(word in reason for word in words), reason
    assert cache.load(FIRST) is None
    assert cache.store(FIRST, CODE) == reason


# What it keeps.


def test_what_was_stored_is_loaded(folder: Path) -> None:
    assert cache.load(FIRST) is None
    assert not folder.exists(), "looking creates nothing"
    for code in (CODE, b"", b"\0" * 100_000):
        put(FIRST, code)
        assert cache.load(FIRST) == code
    assert cache.load(SECOND) is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file_of(folder).stat().st_mode) == 0o600
    assert [p.name for p in folder.iterdir()] == [file_of(folder).name]


def test_no_key_is_a_miss(folder: Path) -> None:
    assert cache.load(None) is None
    assert cache.store(None, CODE) is not None


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PKTFILTER_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    put()
    assert file_of(tmp_path / ".cache" / "pktfilter").exists()
    assert stat.S_IMODE((tmp_path / ".cache").stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.load(FIRST) is None
    put()
    assert file_of(tmp_path / "xdg" / "pktfilter").exists()
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    refused("HOME")


def test_a_cache_home_behind_a_link_is_the_users_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".cache").symlink_to("elsewhere")
    monkeypatch.delenv("PKTFILTER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    put()
    assert cache.load(FIRST) == CODE


# Who may write to it.


def test_off_is_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE", "off")
    refused("PKTFILTER_CACHE")
    assert cache.key(1) is None
    assert not folder.exists()


@pytest.mark.parametrize("value", ["relative/dir", ".", "/", "/tmp/..", "~/x"])
def test_a_place_that_names_no_directory(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE", value)
    refused("PKTFILTER_CACHE", "full path")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o750, 0o701, 0o710, 0o1777, 0o500])
def test_a_directory_open_to_others(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    refused(f"mode {mode & 0o777:04o}", "0700")
    assert not list(folder.iterdir())
    folder.chmod(0o700)
    put()


def test_a_link_in_place_of_the_directory(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    folder.symlink_to(real)
    refused("symbolic link")
    folder.unlink()
    folder.symlink_to(tmp_path / "nowhere")
    refused("symbolic link")
    assert not (tmp_path / "nowhere").exists()
    assert not list(real.iterdir())
    folder.unlink()
    folder.write_text("a file")
    refused("a file")


@root
def test_a_directory_of_another_user(folder: Path) -> None:
    put()
    os.chown(folder, STRANGER, STRANGER)
    refused(f"user {STRANGER}")
    assert file_of(folder).exists(), "what is not ours stays"


@root
def test_roots_rights_with_another_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sudo does where it keeps HOME: root must leave nothing there."""
    monkeypatch.delenv("PKTFILTER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    monkeypatch.setenv("HOME", str(home))
    reason = cache.store(FIRST, CODE)
    assert reason is not None and f"user {STRANGER}" in reason
    (home / ".cache").mkdir()
    os.chown(home / ".cache", STRANGER, STRANGER)
    refused(f"user {STRANGER}")
    assert not list((home / ".cache").iterdir())


@root
def test_a_process_with_another_users_rights(folder: Path) -> None:
    folder.parent.chmod(0o777)
    code = (
        f"import os; os.setresuid({STRANGER}, 0, 0)\n"
        "from pktfilter.jit import cache\n"
        f"print(cache.key(1), cache.store('{FIRST}', b'x'), cache.status().reason)"
    )
    assert python(code).count("setuid") == 2
    assert not folder.exists()


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **PATHS, **environment},
        capture_output=True, text=True, timeout=120, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# What a file may be.


def test_every_flipped_bit_of_the_header_and_each_byte_after_it(folder: Path) -> None:
    code = bytes(range(64))
    put(FIRST, code)
    good = file_of(folder).read_bytes()
    for place in range(len(good)):
        for bit in range(8) if place < len(good) - len(code) else (place % 8,):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            damage(folder, bytes(bad))
            assert cache.load(FIRST) is None, (place, bit)
            assert not file_of(folder).exists(), "a damaged file is removed"


def damage(folder: Path, data: bytes, key: str = FIRST) -> None:
    file_of(folder, key).write_bytes(data)
    file_of(folder, key).chmod(0o600)


def test_every_length_but_the_right_one(folder: Path) -> None:
    code = bytes(range(64))
    put(FIRST, code)
    good = file_of(folder).read_bytes()
    for length in range(len(good)):
        damage(folder, good[:length])
        assert cache.load(FIRST) is None, length
        assert not file_of(folder).exists()
    damage(folder, good + b"\0")
    assert cache.load(FIRST) is None
    damage(folder, good)
    assert cache.load(FIRST) == code


def test_a_file_under_another_key(folder: Path) -> None:
    put(FIRST)
    os.rename(file_of(folder, FIRST), file_of(folder, SECOND))
    assert cache.load(SECOND) is None
    assert not file_of(folder, SECOND).exists()


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o620, 0o604, 0o640])
def test_a_file_open_to_others(folder: Path, mode: int) -> None:
    put()
    file_of(folder).chmod(mode)
    assert cache.load(FIRST) is None
    assert not file_of(folder).exists()


def test_a_file_with_a_second_name(folder: Path, tmp_path: Path) -> None:
    """Somebody may have it open for writing under the other one."""
    put()
    os.link(file_of(folder), tmp_path / "other")
    assert cache.load(FIRST) is None
    assert not file_of(folder).exists()
    assert (tmp_path / "other").exists()


@root
def test_a_file_of_another_user(folder: Path) -> None:
    put()
    os.chown(file_of(folder), STRANGER, STRANGER)
    assert cache.load(FIRST) is None
    assert not file_of(folder).exists()


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "socket", "directory"])
def test_something_else_in_a_files_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither followed nor waited for."""
    put()
    place = file_of(folder)
    outside = tmp_path / "outside"
    os.rename(place, outside)
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "dangling":
        place.symlink_to(tmp_path / "nothing")
    elif kind == "pipe":
        os.mkfifo(place, 0o600)
    elif kind == "socket":
        monkeypatch.chdir(folder)  # a socket's address is shorter than most paths
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(place.name)
    else:
        place.mkdir(0o600)
    assert cache.load(FIRST) is None
    assert outside.read_bytes(), "what a link names is left alone"
    reason = cache.store(FIRST, CODE)
    if kind == "directory":
        assert reason is not None
    else:
        assert reason is None
        assert cache.load(FIRST) == CODE
        assert stat.S_ISREG(place.lstat().st_mode)


def test_a_huge_file_is_not_read(folder: Path) -> None:
    put()
    os.truncate(file_of(folder), 1 << 40)
    assert cache.load(FIRST) is None
    assert not file_of(folder).exists()


# How much it takes.


def test_the_least_recently_used_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE_SIZE", "1")
    code = b"\1" * 200_000
    now = time.time()
    for number in range(4):
        put(f"{number:064x}", code)
        os.utime(file_of(folder, f"{number:064x}"), (now - 40_000 + number,) * 2)
    assert cache.load(f"{0:064x}") == code  # used: now the youngest
    put(FIRST, code)
    put(SECOND, code)
    left = {p.name[:64] for p in folder.iterdir()}
    assert left == {f"{0:064x}", f"{3:064x}", f"{2:064x}", FIRST, SECOND}
    shown = cache.status()
    assert shown.entries == 5
    assert 1_000_000 < shown.bytes <= shown.limit == 1 << 20


def test_too_many_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 3)
    for number in range(6):
        put(f"{number:064x}", b"x")
        os.utime(file_of(folder, f"{number:064x}"), (1000 + number,) * 2)
    assert len(list(folder.iterdir())) == 3


def test_an_object_larger_than_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE_SIZE", "1")
    reason = cache.store(FIRST, bytes(1 << 20))
    assert reason is not None and "larger" in reason
    assert not folder.exists()


@pytest.mark.parametrize("value", ["0", "-1", "many", "1e3", "9" * 20, ""])
def test_a_size_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE_SIZE", value)
    reason = cache.store(FIRST, CODE)
    assert reason is not None and "PKTFILTER_CACHE_SIZE" in reason
    assert cache.status().reason == reason


def test_what_a_killed_process_left_is_removed(folder: Path) -> None:
    put()
    old, young, foreign = folder / ".new-1-a", folder / ".new-1-b", folder / "notes.txt"
    for path in (old, young, foreign):
        path.write_text("x")
    os.utime(old, (time.time() - 10_000,) * 2)
    os.utime(foreign, (1, 1))
    put(SECOND)
    assert not old.exists()
    assert young.exists()
    assert cache.clear() == 2
    assert [p.name for p in folder.iterdir()] == ["notes.txt"], "only what is the cache's"


# What disks and other processes do.


def test_a_write_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(SECOND)
    code = (
        "import resource, signal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from pktfilter.jit import cache\n"
        f"print(cache.store('{FIRST}', bytes(5000)))"
    )
    assert "too large" in python(code)
    assert [p.name for p in folder.iterdir()] == [file_of(folder, SECOND).name]


def in_namespace(script: str, tmp_path: Path) -> str:
    """Runs a shell script that may mount; its mounts end with it."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root and unshare(1)")
    done = subprocess.run(
        [unshare, "-m", "--propagation", "private", "sh", "-ec", script],
        env={**os.environ, **PATHS, "T": str(tmp_path), "PY": sys.executable},
        capture_output=True, text=True, timeout=120, check=False, cwd="/",
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk(tmp_path: Path) -> None:
    script = """
    mkdir $T/disk; mount -t tmpfs -o size=64k,mode=0700 none $T/disk || exit 77
    export PKTFILTER_CACHE=$T/disk
    $PY -c "
from pktfilter.jit import cache
print(cache.store('1' * 64, b'x' * 20000))
print(cache.store('2' * 64, b'x' * 200000))
print(cache.load('1' * 64) == b'x' * 20000, cache.load('2' * 64))
"
    ls -A $T/disk
    """
    out = in_namespace(script, tmp_path).splitlines()
    assert out == ["None", "No space left on device", "True None", f"{FIRST}.o"]


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """What is there is used."""
    script = """
    mkdir $T/disk; mount -t tmpfs -o size=1m,mode=0700 none $T/disk || exit 77
    export PKTFILTER_CACHE=$T/disk
    cat >$T/p.py <<'END'
from pktfilter.jit import cache
print(cache.store('1' * 64, b'x'), cache.load('1' * 64), cache.status().reason)
END
    $PY $T/p.py
    touch -d 2001-01-01 $T/disk/*.o
    mount -o remount,ro $T/disk
    $PY $T/p.py
    """
    first, second = in_namespace(script, tmp_path).splitlines()
    assert first == "None b'x' None"
    assert second.startswith("Read-only file system b'x' ")
    assert second.endswith("cannot be written")


def test_a_missing_directory_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKTFILTER_CACHE", str(tmp_path / "no" / "such"))
    reason = cache.store(FIRST, CODE)
    assert reason is not None and "No such file" in reason
    assert cache.clear() == 0


RACER = """
import sys, time
from pktfilter.jit import cache
end = time.monotonic() + 2
keys = [c * 64 for c in "0123"]
done = 0
while time.monotonic() < end:
    for key in keys:
        code = key.encode() * 500
        reason = cache.store(key, code)
        assert reason is None or "No such file" in reason, reason
        found = cache.load(key)
        assert found is None or found == code
        done += found is not None
    if sys.argv[1] == "0":
        cache.clear()
print(done)
"""


def test_processes_that_store_load_and_clear_at_once(folder: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(number)], stdout=subprocess.PIPE, cwd="/",
            env={**os.environ, **PATHS, "PKTFILTER_CACHE_SIZE": "1"},
        )
        for number in range(3)
    ]  # fmt: skip
    for racer in racers:
        out, _ = racer.communicate(timeout=60)
        assert racer.returncode == 0
        assert int(out) > 10, "loads found what was stored"
    assert all(p.name.endswith(".o") for p in folder.iterdir()), "nothing half written is left"


def test_processes_killed_while_they_store(folder: Path) -> None:
    code = f"from pktfilter.jit import cache\nwhile True: cache.store('{FIRST}', b'x' * 3_000_000)"
    for delay in (0.15, 0.2, 0.25):
        child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **PATHS}, cwd="/")
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        assert cache.load(FIRST) in (None, b"x" * 3_000_000)
    for path in folder.glob(".new-*"):
        os.utime(path, (1, 1))
    put()
    assert [p.name for p in folder.iterdir()] == [f"{FIRST}.o"]


def test_a_directory_exchanged_while_it_is_open(folder: Path, tmp_path: Path) -> None:
    """What was checked is what is written to, whatever the name means by then."""
    put()
    with cache._directory() as opened:
        os.rename(folder, tmp_path / "aside")
        folder.mkdir(mode=0o777)
        cache._write(opened, SECOND, CODE)
    assert not list(folder.iterdir())
    assert (tmp_path / "aside" / f"{SECOND}.o").exists()


# Replays.


@pytest.mark.parametrize("damage", ["flip", "empty", "link", "other user", "none"])
def test_a_replay_whose_object_was_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """It compiles again, and its results are those of before."""
    pytest.importorskip("llvmlite", reason="nothing is compiled without it")
    if damage == "other user" and os.geteuid() != 0:
        pytest.skip("giving files to another user needs root")
    monkeypatch.setitem(ENVIRONMENT, "PKTFILTER_CACHE", str(folder))
    arguments = ("replay", EXAMPLES / "filter64.o", DEMO, "--engine", "jit", "--json")
    first = command(*arguments).json
    (path,) = folder.iterdir()
    good = path.read_bytes()
    if damage == "flip":
        path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "link":
        (tmp_path / "aside").write_bytes(good)
        path.unlink()
        path.symlink_to(tmp_path / "aside")
    elif damage == "other user":
        os.chown(path, STRANGER, STRANGER)
    second = command(*arguments).json
    assert [row["cached"] for row in second["compiled"]] == [damage == "none"]
    assert second["actions"] == first["actions"]
    assert second["engine_packets"]["jit"] == first["packets"]
    assert command(*arguments).json["compiled"][0]["cached"], "the good object is there again"
    assert path.read_bytes() == good


# The command.


def test_the_command_shows_and_clears(folder: Path) -> None:
    environment = {"PKTFILTER_CACHE": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setitem(ENVIRONMENT, name, value)
        assert b"state    on" in command("cache").out
        put()
        shown = command("cache", "--json").json
        assert (shown["path"], shown["on"], shown["reason"]) == (str(folder), True, None)
        assert shown["entries"] == 1
        assert len(CODE) < shown["bytes"] <= shown["limit"] == 256 << 20
        assert b"removed  1" in command("cache", "--clear").out
        assert command("cache", "--json").json["entries"] == 0
        folder.chmod(0o755)
        assert b"off: " in command("cache").out
        assert "0755" in command("cache", "--clear", code=1).error
