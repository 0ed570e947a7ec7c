"""Control of a running engine from a second process, and watching an object file."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import DEMO, EXAMPLES, PORTFW, Done, assembly, finish, program, run, start

import pktfilter as pf
from pktfilter.control import Client, ControlServer, Watcher
from pktfilter.control.protocol import directory
from pktfilter.errors import ControlError, InputError

DROP = assembly("main", "r0 = 1\nexit\n")
PASS = assembly("main", "r0 = 2\nexit\n")
UNSAFE = assembly("main", "r0 = *(u64 *)(r1 +100)\nexit\n")
COUNTING = """.section xdp
.license GPL
.map hits array 4 8 4
.program main
main:
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[hits]
call bpf_map_lookup_elem#1
if r0 == 0 goto out
r1 = 1
lock *(u64 *)(r0 +0) += r1
out:
r0 = {action}
exit
"""


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Replaying:
    """A replay that reads a pipe which the test holds open, controlled at a socket of its own."""

    def __init__(self, tmp_path: Path, *arguments: object) -> None:
        self.socket = tmp_path / "engine.sock"
        self.pipe = tmp_path / "in.pcap"
        os.mkfifo(self.pipe)
        self.process = start(
            "replay", *arguments, self.pipe, "--control", self.socket, "--json", "--batch", "1"
        )
        self.feed = self.pipe.open("wb", buffering=0)
        self.capture = DEMO.read_bytes()
        self.at = 24
        self.feed.write(self.capture[:24])
        until(self.socket.exists)

    def send(self, packets: int) -> None:
        """Writes the next packets of the demo capture into the pipe."""
        for _ in range(packets):
            length = int.from_bytes(self.capture[self.at + 8 : self.at + 12], "little")
            self.feed.write(self.capture[self.at : self.at + 16 + length])
            self.at += 16 + length

    def ask(self, *arguments: object, code: int = 0) -> Done:
        return run(*arguments, "--socket", self.socket, code=code)

    def packets(self) -> int:
        with Client(self.socket) as client:
            return int(client.ask("info")["hooks"]["ingress"]["packets"])

    def end(self) -> Done:
        self.feed.close()
        return finish(self.process)


@pytest.fixture
def replaying(tmp_path: Path) -> Iterator[Callable[..., Replaying]]:
    made: list[Replaying] = []

    def begin(*arguments: object) -> Replaying:
        made.append(Replaying(tmp_path, *arguments))
        return made[-1]

    yield begin
    for each in made:
        each.feed.close()
        each.process.kill()  # nothing, when it has ended
        each.process.wait()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


def test_maps_are_shown_and_set_by_their_types(replaying: Callable[..., Replaying]) -> None:
    engine = replaying(PORTFW)
    engine.send(1)
    until(lambda: engine.packets() == 1)
    engine.ask("map", "set", "port_rules", '{"port": 80, "protocol": 6}', '{"id": 7, "action": 2}')
    dump = ["map", "dump", "port_rules"]
    assert engine.ask(*dump).text == (
        '{"port": 80, "protocol": 6, "unused": 0}  {"id": 7, "action": 2}\n'
    )
    assert engine.ask(*dump, "--hex").text == "50000600  0700000002000000\n"
    assert engine.ask(*dump, "--hex", "--json").json["entries"] == [
        {"key": "50000600", "value": "0700000002000000"}
    ]
    assert engine.ask(*dump, "--json").json["entries"][0]["value"] == {"id": 7, "action": 2}
    engine.ask("map", "set", "port_rules", "hex:50000600", "hex:0800000001000000")
    assert '"id": 8' in engine.ask(*dump).text
    error = engine.ask("map", "set", "port_rules", '{"port": 70000}', "0", code=1).error
    assert "key.port: the number is out of range" in error
    assert engine.ask("map", "set", "port_rules", "{", "0", code=1).error.count("\n") == 1
    error = engine.ask("map", "set", "port_rules", "eighty", "0", code=1).error
    assert "port_rules" in error and "eighty" in error and error.count("\n") == 1
    engine.ask("map", "delete", "port_rules", '{"port": 80, "protocol": 6}')
    assert engine.ask(*dump).text == "(empty)\n"
    # Per-CPU values side by side
    assert engine.ask("map", "dump", "action_hits").text.count('"packets": 1') == 1


def test_a_running_replay_is_controlled_from_a_second_process(
    tmp_path: Path, replaying: Callable[..., Replaying]
) -> None:
    old = program(tmp_path, COUNTING.format(action=2), "old.s")
    new = program(tmp_path, COUNTING.format(action=1), "new.s")
    engine = replaying(old)
    engine.send(10)
    until(lambda: engine.packets() == 10)
    rows = json.loads(engine.ask("link", "list", "--json").out)
    assert [row["program"] for row in rows[0]["links"]] == ["main"]
    done = engine.ask("link", "update", new.name, "--json", code=1)
    assert "new.s" in done.error  # names are relative to where the asking command runs
    changed = engine.ask("link", "update", new, "--json").json
    assert changed["generation"] == 2
    engine.send(5)
    until(lambda: engine.packets() == 15)
    # The counts were carried: one map over both programs.
    dump = engine.ask("map", "dump", "hits", "--json").json
    assert int.from_bytes(bytes.fromhex(dump["entries"][0]["value"]), "little") == 15
    engine.ask("map", "set", "hits", "1", "0x2a")
    assert "2a00000000000000" in engine.ask("map", "dump", "hits").text
    file = tmp_path / "hits.json"
    engine.ask("map", "save", "hits", str(file))
    saved = json.loads(file.read_text())
    assert saved == [{"key": 0, "value": 15}, {"key": 1, "value": 42}]
    assert "2 set" in engine.ask("map", "load", "hits", str(file)).text
    file.write_text('[{"key": 1, "value": -1e9}]')
    assert "hits.json: entry 1" in engine.ask("map", "load", "hits", str(file), code=1).error
    assert engine.ask("map", "delete", "hits", "1", code=1).error.count("\n") == 1
    assert engine.ask("link", "rollback", "--json").json["generation"] == 3
    engine.send(2)
    until(lambda: engine.packets() == 17)
    shown = engine.ask("link", "show", "--json").json
    assert [row["cause"] for row in shown["history"]] == ["attach", "update", "rollback"]
    assert "rollback" in engine.ask("link", "show").text
    stale = engine.ask("link", "update", new, "--expect-generation", "1", code=1)
    assert "generation" in stale.error
    engine.ask("link", "detach", str(rows[0]["links"][0]["id"]))
    engine.send(3)
    result = engine.end()
    assert result.code == 0, result.error
    assert result.json["actions"] == {"aborted": 0, "drop": 5, "pass": 15, "tx": 0, "redirect": 0}
    assert result.json["uncovered"] == 3
    assert not engine.socket.exists()


def test_a_refused_program_leaves_the_running_one(
    tmp_path: Path, replaying: Callable[..., Replaying]
) -> None:
    engine = replaying(program(tmp_path, PASS))
    engine.send(1)
    done = engine.ask("link", "update", program(tmp_path, UNSAFE, "bad.s"), code=1)
    assert "error[ctx-field]" in done.error and "help:" in done.error
    engine.send(1)
    result = engine.end().json
    assert result["actions"]["pass"] == 2 and result["uncovered"] == 0


def test_trials_are_begun_and_ended_from_a_second_process(
    tmp_path: Path, replaying: Callable[..., Replaying]
) -> None:
    engine = replaying(program(tmp_path, PASS))
    drop = program(tmp_path, DROP, "drop.s")
    assert "no shadow or canary" in engine.ask("link", "promote", code=1).error
    engine.ask("link", "shadow", drop)
    assert "a trial of program main" in engine.ask("link", "canary", drop, code=1).error
    engine.send(5)
    until(lambda: engine.packets() == 5)
    shown = engine.ask("link", "show").text
    assert "compared 5, differing 5" in shown and "pass -> drop: 5" in shown
    assert engine.ask("link", "promote", "--json").json["state"] == "promoted"
    engine.send(4)
    until(lambda: engine.packets() == 9)
    engine.ask("link", "canary", program(tmp_path, PASS, "back.s"), "--fraction", "1", "--guard")
    engine.send(3)
    until(lambda: engine.packets() == 12)
    assert engine.ask("link", "abandon", "--json").json["candidate"]["packets"] == 3
    engine.send(1)
    result = engine.end().json
    assert result["actions"]["pass"] == 8 and result["actions"]["drop"] == 5


def test_what_a_guard_ended_is_told_afterwards(
    tmp_path: Path, replaying: Callable[..., Replaying]
) -> None:
    engine = replaying(program(tmp_path, PASS))
    drop = program(tmp_path, DROP, "drop.s")
    engine.ask("link", "shadow", drop, "--guard")
    engine.send(1001)
    until(lambda: engine.packets() == 1001)
    for word in ("promote", "abandon"):
        error = engine.ask("link", word, code=1).error
        assert "the guard ended the shadow or canary: difference rate 1 above 0.01" in error
    engine.ask("link", "detach", 1)
    for command in (("update", drop), ("show",), ("rollback",)):
        assert "no link is attached any more" in engine.ask("link", *command, code=1).error
    assert engine.end().json["actions"]["pass"] == 1001


def test_watch_republishes_and_survives_a_bad_file(
    tmp_path: Path, replaying: Callable[..., Replaying]
) -> None:
    path = program(tmp_path, COUNTING.format(action=2), "watched.s")
    engine = replaying(path, "--watch")

    def generation() -> int:
        return int(engine.ask("link", "show", "--json").json["generation"])

    engine.send(4)
    until(lambda: engine.packets() == 4)
    for text, then in (
        (COUNTING.format(action=1), 2),
        (UNSAFE, 2),
        ("no assembly at all", 2),
        (COUNTING.format(action=3), 3),
    ):
        time.sleep(0.05)
        staged = tmp_path / "staged"
        staged.write_text(text)
        staged.replace(path)
        if then != generation():
            until(lambda then=then: generation() == then)  # type: ignore[misc]
        else:
            time.sleep(0.8)
            assert generation() == then
        engine.send(1)
    until(lambda: engine.packets() == 8)
    causes = [row["cause"] for row in engine.ask("link", "show", "--json").json["history"]]
    assert causes == ["attach", "watch", "watch"]
    dump = engine.ask("map", "dump", "hits", "--json").json
    assert int.from_bytes(bytes.fromhex(dump["entries"][0]["value"]), "little") == 8
    result = engine.end()
    assert result.json["actions"] == {"aborted": 0, "drop": 3, "pass": 4, "tx": 1, "redirect": 0}
    assert "error[ctx-field]" in result.error
    assert result.error.count("generation 2 goes on") == 2


def test_the_socket_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert stat.S_IMODE(directory().stat().st_mode) == 0o700
    with ControlServer(pf.Datapath(), lambda _: (pf.ObjectSpec(""), "")) as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        with Client() as client:
            assert client.path == server.path
            assert client.ask("info")["hooks"] == {}
    assert not server.path.exists()
    directory().chmod(0o755)
    with pytest.raises(InputError, match="of the user's own"):
        directory()


def test_an_engine_that_died_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    left = directory() / "1.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    with pytest.raises(InputError, match="no engine"):
        Client()
    assert not left.exists()
    done = run("link", "show", "--socket", tmp_path / "none.sock", code=1)
    assert "cannot reach the engine" in done.error


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{}\n", "no such operation"),
        (b"[1]\n", "no JSON object"),
        (b"\xff\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b'{"op": ["x"]}\n', "no such operation"),
        (b'{"op": "link.show", "link": {}}\n', "wrong type"),
        (b'{"op": "link.list", "more": 1}\n', "no such argument"),
        (b'{"op": "map.set", "map": "hits"}\n', "an argument is missing"),
        (b'{"op": "map.set", "map": "hits", "key": "x", "value": 1}\n', "neither a number"),
        (b'{"op": "map.set", "map": "hits", "key": 0, "value": "hex:00"}\n', "wrong size"),
        (b'{"op": "map.set", "map": "hits", "key": 9, "value": 1}\n', "E2BIG|full"),
        (b'{"op": "map.dump", "map": "hits", "limit": "x"}\n', "limit.*wrong type"),
        (b'{"op": "link.rollback", "to": "x"}\n', "to.*wrong type"),
        (b'{"op": "link.canary", "prog": "x", "fraction": "y"}\n', "fraction.*wrong type"),
        (b'{"op": "link.update", "prog": 7}\n', "prog.*wrong type"),
    ],
)
def test_hostile_lines_get_an_answer(tmp_path: Path, line: bytes, says: str) -> None:
    import re

    from pktfilter.cli.running import parse

    hook = pf.Hook()
    spec, name = parse(str(program(tmp_path, COUNTING.format(action=2))))
    hook.attach(pf.load(spec).programs[name])
    with (
        ControlServer(hook.datapath, parse, path=tmp_path / "s") as server,
        socket.socket(socket.AF_UNIX) as asking,
    ):
        asking.connect(str(server.path))
        for _ in range(2):  # the connection goes on
            asking.sendall(line)
            answer = json.loads(asking.makefile("rb").readline())
            assert answer["ok"] is False and re.search(says, answer["error"]), answer


def test_many_connections_at_once(tmp_path: Path) -> None:
    hook = pf.Hook()
    with ControlServer(
        hook.datapath, lambda _: (pf.ObjectSpec(""), ""), path=tmp_path / "s"
    ) as server:
        answers: list[int] = []

        def ask() -> None:
            try:
                with Client(server.path) as client:
                    for _ in range(20):
                        client.ask("info")
                answers.append(1)
            except ControlError:
                answers.append(0)  # more than the server takes at once

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 40 and sum(answers) >= 16
        with Client(server.path) as client:
            assert client.ask("info")["pid"] == os.getpid()


def test_watcher_takes_up_a_file_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("0")
    seen: list[str] = []
    errors: list[Exception] = []

    def changed() -> None:
        seen.append(path.read_text())
        if seen[-1] == "bad":
            raise ValueError("bad")

    with Watcher(str(path), changed, errors.append, interval=0.05):
        with path.open("w") as file:  # written in pieces, faster than it is looked at
            for _ in range(20):
                file.write("x")
                file.flush()
                time.sleep(0.01)
        until(lambda: seen == ["x" * 20])
        path.unlink()
        time.sleep(0.2)
        path.write_text("bad")
        until(lambda: len(errors) == 1)
        path.write_text("good")
        until(lambda: seen[-1] == "good")
    assert seen == ["x" * 20, "bad", "good"]


def test_a_long_replay_says_where_it_is_controlled(tmp_path: Path) -> None:
    pipe = tmp_path / "in.pcap"
    os.mkfifo(pipe)
    process = start("replay", EXAMPLES / "pass.o", pipe)
    with pipe.open("wb", buffering=0) as feed:
        feed.write(DEMO.read_bytes()[:24])
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("pktfilter: control: pktfilter link list --socket ")
        where = line.split()[-1]
        done = subprocess.run(["test", "-S", where], check=False)
        assert done.returncode == 0
        listed = run("link", "list", "--socket", where).text
        assert listed.startswith(f"replay {EXAMPLES / 'pass.o'}: {where}\n")
        assert "attached" in listed
    assert finish(process).code == 0
