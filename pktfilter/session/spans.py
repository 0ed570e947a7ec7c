"""Speeds and times as a user writes them: `1x`, `pps:1000`, ISO 8601, seconds since the epoch, `+SECONDS`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from ..errors import InputError, wrong_kind

#: Rates are counted in billionths.
UNIT = 10**9
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,30})?"
_SPEED = re.compile(rf"({_NUMBER})x|(pps|mbps):({_NUMBER})")
_SECONDS = re.compile(rf"([+-]?)({_NUMBER})")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_KINDS = {"pps": "packets", "mbps": "mbits"}

TimeLike = str | int | float | datetime | timedelta


@dataclass(frozen=True)
class Speed:
    """How packets are paced: `rate` billionths of what `kind` counts."""

    kind: str
    rate: int

    def asked(self, kind: str) -> float | None:
        """The rate, where that is what was asked for."""
        return self.rate / UNIT if self.kind == kind else None


@dataclass(frozen=True)
class Bound:
    """One end of a span: nanoseconds since the epoch, or `relative` to the first packet."""

    ns: int
    relative: bool = False


def _billionths(text: str) -> int:
    """A decimal number in billionths, rounded to the nearest."""
    whole, _, fraction = text.partition(".")
    digits = (fraction + "0" * 10)[:10]
    return (int(whole) * 10 * UNIT + int(digits) + 5) // 10


def parse_speed(text: str) -> Speed:
    """`1x` and other multiples of capture time, `pps:N`, `mbps:N`. Raises `InputError`."""
    if not isinstance(text, str):
        raise wrong_kind("speed", text, "a text such as '1x'")
    match = _SPEED.fullmatch(text)
    if match is None:
        raise InputError(
            "no such speed",
            found=text,
            expected="max, 1x (or another factor), pps:N (packets a second) or mbps:N",
        )
    factor, unit, number = match.groups()
    rate = _billionths(factor or number)
    if not 0 < rate < 1 << 64:
        raise InputError(
            "the speed is out of range", found=text, expected="1e-9 to 18 billion, in its unit"
        )
    return Speed("time" if factor else _KINDS[unit], rate)


def parse_time(value: TimeLike, what: str) -> Bound:
    """A time: ISO 8601 (UTC where no zone is given), seconds since the epoch, or `+SECONDS` after the
    first packet; from Python also numbers (epoch), `datetime`, and `timedelta` (relative).

    Raises `InputError`, which calls it `what`.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
        bound = Bound(_delta_ns(aware - datetime(1970, 1, 1, tzinfo=timezone.utc)))
    elif isinstance(value, timedelta):
        bound = Bound(_delta_ns(value), relative=True)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= 1e10:  # nor what is no number
            raise _out_of_range(what, value)
        bound = Bound(value * UNIT if isinstance(value, int) else _signed(f"{value:.9f}"))
    elif isinstance(value, str):
        bound = _parse_text(value.strip(), what)
    else:
        raise wrong_kind(what, value, "a text, a number of seconds, a datetime or a timedelta")
    if not _INT64_MIN < bound.ns < _INT64_MAX:
        raise _out_of_range(what, value)
    return bound


def _out_of_range(what: str, value: object) -> InputError:
    return InputError(f"{what} is out of range", found=value, expected="years 1678 to 2262")


def _signed(text: str) -> int:
    return -_billionths(text[1:]) if text.startswith("-") else _billionths(text)


def _delta_ns(delta: timedelta) -> int:
    return ((delta.days * 86400 + delta.seconds) * 10**6 + delta.microseconds) * 1000


def _parse_text(text: str, what: str) -> Bound:
    seconds = _SECONDS.fullmatch(text)
    if seconds is not None:
        sign, number = seconds.groups()
        ns = _billionths(number)
        return Bound(-ns if sign == "-" else ns, relative=sign == "+")
    match = _ISO.fullmatch(text)
    try:
        if match is not None:
            return Bound(_iso_ns(*match.groups()))
    except ValueError:
        pass  # a month 13, an hour 25
    raise InputError(
        f"{what} is no time",
        found=text,
        expected="ISO 8601 (2026-01-31T12:00:00Z), seconds since the epoch, or +SECONDS after the "
        "first packet",
    )


def _iso_ns(
    day: str, hour: str | None, minute: str | None, second: str | None, rest: str | None,
    zone: str | None,
) -> int:  # fmt: skip
    """Nanoseconds since the epoch; Python's own parser stops at microseconds."""
    days = (date.fromisoformat(day) - date(1970, 1, 1)).days
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if h > 23 or m > 59 or s > 60:
        raise ValueError(f"{h}:{m}:{s}")
    offset = 0
    if zone is not None and zone != "Z":
        digits = zone[1:].replace(":", "")
        if int(digits[:2]) > 23 or int(digits[2:]) > 59:
            raise ValueError(zone)
        offset = (int(digits[:2]) * 60 + int(digits[2:])) * (-60 if zone[0] == "-" else 60)
    whole = days * 86400 + h * 3600 + m * 60 + s - offset
    return whole * UNIT + int((rest or "").ljust(9, "0"))
