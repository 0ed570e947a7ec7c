"""`--events`: what programs send to their user, as lines or as a capture."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import InputError, OutputError
from . import UsageError
from .map_options import same_file

if TYPE_CHECKING:
    from ..handles.events import Event
    from ..handles.maps import Map

_FORMATS = ("json", "hex", "pcapng")
_STDOUT = "-"
Command = Callable[..., Any]


def event_options(command: Command) -> Command:
    """Adds `--events`, `--events-to` and `--event-buffer`; `events_of` reads them."""
    for add in (
        click.option(
            "--event-buffer", type=click.IntRange(1, 1024), default=8, show_default=True, metavar="MIB",
            help="MiB of events that are kept between two deliveries; what finds no room is counted as lost.",
        ),
        click.option(
            "--events-to", metavar="FILE", help="Where --events goes.  [default: standard output]",
        ),
        click.option(
            "--events", "event_format", type=click.Choice(_FORMATS),
            help="Write what programs send through perf event arrays: one JSON object or line of hex each, or a "
            "capture of the packets that they send along.",
        ),
    ):  # fmt: skip
        command = add(command)
    return command


class EventOutput:
    """What the options ask for."""

    def __init__(self, kind: str | None, file: str | None, mib: int) -> None:
        if kind is None and file is not None:
            raise UsageError("--events-to says where --events goes", hint="add --events json")
        self._kind, self._file = kind, file or _STDOUT
        self.buffer = mib << 20
        self._stream: IO[bytes] | None = None

    @property
    def to_stdout(self) -> bool:
        """Events take standard output, so that nothing else may."""
        return self._kind is not None and self._file == _STDOUT

    @property
    def on_event(self) -> Callable[[Event], None] | None:
        """What takes each event; None without `--events`."""
        return None if self._kind is None else self._take

    @property
    def names(self) -> list[str]:
        """Files that are written."""
        return [] if self._kind is None or self.to_stdout else [self._file]

    def check(self, used: Iterable[str]) -> None:
        """Raises `InputError` where the output would replace a file of the run."""
        for name in used:
            if any(same_file(output, name) for output in self.names):
                raise InputError("events would replace a file of the run", file=self._file)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """While events come. Raises `OutputError` where the file cannot be written."""
        if self._kind is None:
            yield
            return
        try:
            self._stream = sys.stdout.buffer if self.to_stdout else open(self._file, "wb")  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", file=self._file) from error
        try:
            if self._kind == "pcapng":
                self._write(_section())
            yield
            self._flush()
        finally:
            stream, self._stream = self._stream, None
            if not self.to_stdout:
                try:
                    stream.close()
                except OSError as error:
                    raise self._failed(error) from error

    def _take(self, event: Event) -> None:
        if self._kind == "json":
            self._write(_json(event))
        elif self._kind == "hex":
            self._write(_hex(event))
        elif event.packet:
            self._write(_block(event))

    def _write(self, data: bytes) -> None:
        assert self._stream is not None
        try:
            self._stream.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def _flush(self) -> None:
        assert self._stream is not None
        try:
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        name = "standard output" if self.to_stdout else self._file
        return OutputError(f"events cannot be written: {error.strerror}", file=name)


def tell_full_rings(maps: Iterable[Map], listens: bool) -> None:
    """Says on standard error which ring buffers had no room for what programs wanted to put in."""
    for each in maps:
        if each.lost:
            hint = "" if listens else ": nobody read it, add --events json"
            click.echo(
                f"pktfilter: note: map '{each.name}' was full: {each.lost:,} records were not made{hint}",
                err=True,
            )


def events_of(options: dict[str, Any]) -> EventOutput:
    """Takes the options of `event_options` out of a command's; raises `UsageError`."""
    return EventOutput(
        options.pop("event_format"), options.pop("events_to"), options.pop("event_buffer")
    )


def _json(event: Event) -> bytes:
    import json  # not needed by a plain replay

    row: dict[str, Any] = {
        "packet": event.index,
        "time_ns": event.time_ns,
        "cpu": event.cpu,
        "map": event.map,
        "data": event.data.hex(),
    }
    if event.packet:
        row["packet_data"] = event.packet.hex()
    return json.dumps(row).encode() + b"\n"


def _hex(event: Event) -> bytes:
    text = f"{event.index} {event.time_ns} {event.map} {event.cpu} {event.data.hex() or '-'}"
    return f"{text} {event.packet.hex()}\n".encode() if event.packet else f"{text}\n".encode()


def _section() -> bytes:
    """A section header and one interface with nanoseconds (draft-ietf-opsawg-pcapng, sections 4.1 and 4.2)."""
    header = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    resolution = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol: 10^-9; end of options
    interface = struct.pack("<HHI", 1, 0, 0) + resolution
    return _pcapng(0x0A0D0D0A, header) + _pcapng(1, interface)


def _block(event: Event) -> bytes:
    """An enhanced packet block (section 4.3) with map and data as its comment."""
    packet = event.packet + bytes(-len(event.packet) % 4)
    comment = f"{event.map} cpu {event.cpu} packet {event.index}: {event.data.hex()}".encode()[
        :65532
    ]
    options = struct.pack("<HH", 1, len(comment)) + comment + bytes(-len(comment) % 4) + bytes(4)
    stamp = event.time_ns & (1 << 64) - 1
    head = struct.pack(
        "<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(event.packet), len(event.packet)
    )
    return _pcapng(6, head + packet + options)


def _pcapng(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
