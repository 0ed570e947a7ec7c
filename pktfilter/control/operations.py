"""What a control socket can do, by name. Each operation takes the engine and the request's arguments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..handles.links import Link
from ..handles.trial_report import Guard
from ..handles.trials import Trial
from .arguments import FLAG, NUMBER, SHARE, TEXT, plain, take
from .engine import Engine
from .map_operations import MAP_OPERATIONS

GRACE_SECONDS = 30.0
"""How long an operation waits for a grace period before it says which worker holds it up."""


def _info(engine: Engine, request: dict[str, Any]) -> Any:
    take(request)
    dp = engine.datapath
    return {
        "pid": os.getpid(),
        "title": engine.title,
        "up_s": time.time() - engine.started,
        "generation": dp.generation,
        "revision": dp.revision,
        "hooks": {name: plain(hook.stats._asdict()) for name, hook in dp.hooks.items()},
    }


def _row(link: Link) -> dict[str, Any]:
    program = link.program
    return {
        "id": link.id,
        "hook": link.hook.name,
        "state": link.state,
        "priority": link.priority,
        "continue_on": [action.name for action in link.continue_on],
        "generation": link.generation,
        "program": None if program is None else program.name,
        "tag": None if program is None else program.tag,
        "engine": None if program is None else program.engine,
    }


def _link_list(engine: Engine, request: dict[str, Any]) -> Any:
    take(request)
    return [_row(link) for link in engine.links()]


def _link_show(engine: Engine, request: dict[str, Any]) -> Any:
    (number,) = take(request, link=(NUMBER, None))
    link = engine.link(number)
    trial = link.trial
    return {
        **_row(link),
        "maps": [m.name for m in link.program.maps.values()] if link.program else [],
        "history": [plain(generation) for generation in link.history],
        "trial": None if trial is None else trial.report.to_json(),
    }


def _changed(update: Any) -> dict[str, Any]:
    return {
        "old": plain(update.old),
        "new": plain(update.new),
        "generation": update.generation,
        "publish_ns": update.publish_ns,
    }


def _link_update(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, maps, generation = take(
        request,
        link=(NUMBER, None),
        prog=(TEXT, ...),
        maps=(TEXT, "carry"),
        expect_generation=(NUMBER, None),
    )
    link = engine.link(number)
    with engine.lock:
        spec, name = engine.parse(prog)
        return _changed(
            link.update(
                spec,
                program=name,
                maps=maps,
                expect_generation=generation,
                timeout=GRACE_SECONDS,
            )
        )


def _link_rollback(engine: Engine, request: dict[str, Any]) -> Any:
    number, to = take(request, link=(NUMBER, None), to=(NUMBER, None))
    return _changed(engine.link(number).rollback(to=to, timeout=GRACE_SECONDS))


def _link_detach(engine: Engine, request: dict[str, Any]) -> Any:
    (number,) = take(request, link=(NUMBER, ...))
    link = engine.link(number)
    link.detach(timeout=GRACE_SECONDS)
    return {"id": link.id, "state": link.state}


def _link_shadow(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, maps, guard = take(
        request,
        link=(NUMBER, None),
        prog=(TEXT, ...),
        maps=(TEXT, "snapshot"),
        guard=(FLAG, False),
    )
    link = engine.link(number)
    limits = Guard() if guard else None
    with engine.lock:
        spec, name = engine.parse(prog)
        return link.shadow(spec, program=name, maps=maps, guard=limits).report.to_json()


def _link_canary(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, fraction, guard = take(
        request,
        link=(NUMBER, None),
        prog=(TEXT, ...),
        fraction=(SHARE, 0.05),
        guard=(FLAG, False),
    )
    link = engine.link(number)
    limits = Guard() if guard else None
    with engine.lock:
        spec, name = engine.parse(prog)
        share = float(fraction)
        return link.canary(spec, program=name, fraction=share, guard=limits).report.to_json()


def _trial(engine: Engine, request: dict[str, Any]) -> Trial:
    (number,) = take(request, link=(NUMBER, None))
    link = engine.link(number)
    trial = link.trial
    if trial is None:
        last = link.history[-1]
        if last.cause == "guard":
            raise InputError(
                f"link {link.id}: the guard ended the shadow or canary: {last.detail}",
                hint=f"its program is '{link.program.name}' as before" if link.program else None,
            )
        raise InputError(
            "no shadow or canary runs at the link", found=f"link {link.id}", hint="start one first"
        )
    return trial


def _link_promote(engine: Engine, request: dict[str, Any]) -> Any:
    trial = _trial(engine, request)
    trial.promote(timeout=GRACE_SECONDS)
    return trial.report.to_json()


def _link_abandon(engine: Engine, request: dict[str, Any]) -> Any:
    trial = _trial(engine, request)
    trial.abandon(timeout=GRACE_SECONDS)
    return trial.report.to_json()


OPERATIONS: dict[str, Callable[[Engine, dict[str, Any]], Any]] = {
    "info": _info,
    "link.list": _link_list,
    "link.show": _link_show,
    "link.update": _link_update,
    "link.rollback": _link_rollback,
    "link.detach": _link_detach,
    "link.shadow": _link_shadow,
    "link.canary": _link_canary,
    "link.promote": _link_promote,
    "link.abandon": _link_abandon,
    **MAP_OPERATIONS,
}
