"""The pytest plugin: fixture `xdp`, marks `capture` and `xdp_engines`, option `--xdp-engine` (docs/testing.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .insight.packets import Captured
    from .testing.programs import UnderTest

_ENGINES = ("checked", "interp", "jit")
_LIMIT = 1000  # packets of a mark that does not say how many


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--xdp-engine`."""
    parser.getgroup("xdp", "XDP programs").addoption(
        "--xdp-engine",
        choices=("auto", *_ENGINES, "all"),
        default="auto",
        help="What runs programs of the fixture xdp; all: each test with every engine.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tells pytest the marks."""
    config.addinivalue_line(
        "markers",
        "capture(*files, first=0, limit=1000): run the test once for each packet of the captures, as `captured`",
    )
    config.addinivalue_line(
        "markers",
        "xdp_engines(*names): run the test with each of these engines (checked, interp, jit)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test of each packet and each engine."""
    if "_xdp_engine" in metafunc.fixturenames:
        names = _engines(metafunc)
        if len(names) > 1 or names != [metafunc.config.getoption("--xdp-engine")]:
            metafunc.parametrize("_xdp_engine", names, indirect=True)
    marks = list(metafunc.definition.iter_markers("capture"))
    if not marks:
        return
    if "captured" not in metafunc.fixturenames:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: mark capture needs the argument 'captured'"
        )
    packets = [packet for mark in marks for packet in _packets(metafunc, mark)]
    ids = [f"{Path(each.file).name}:{each.index}" for each in packets]
    metafunc.parametrize("captured", packets, ids=ids)


def _engines(metafunc: pytest.Metafunc) -> list[str]:
    chosen = metafunc.config.getoption("--xdp-engine")
    mark = metafunc.definition.get_closest_marker("xdp_engines")
    names = list(_ENGINES) if chosen == "all" else [chosen]
    if mark is not None and chosen in ("auto", "all"):
        names = list(mark.args)
        wrong = [name for name in names if name not in _ENGINES]
        if wrong or not names:
            raise pytest.UsageError(
                f"{metafunc.definition.nodeid}: mark xdp_engines names {wrong or 'nothing'}; "
                f"there are {', '.join(_ENGINES)}"
            )
    return names


def _packets(metafunc: pytest.Metafunc, mark: pytest.Mark) -> list[Captured]:
    from .errors import PktfilterError
    from .insight.packets import packets_of

    node = metafunc.definition
    unknown = set(mark.kwargs) - {"first", "limit"}
    if unknown or not mark.args:
        raise pytest.UsageError(f"{node.nodeid}: mark capture takes files, first= and limit=")
    first, limit = mark.kwargs.get("first", 0), mark.kwargs.get("limit", _LIMIT)
    found = []
    for name in mark.args:
        path = _find(Path(name), node.path.parent, metafunc.config.rootpath)
        try:
            found += packets_of(str(path), first, limit)
        except PktfilterError as error:
            raise pytest.UsageError(f"{node.nodeid}: {error}") from None
    return found


def _find(name: Path, folder: Path, root: Path) -> Path:
    """A file beside the test, or below the root, or as it is named."""
    for base in (folder, root):
        if (base / name).exists():
            return base / name
    return name


class Xdp:
    """The fixture `xdp`: loads programs for one test, each with maps of its own."""

    def __init__(self, engine: str, folder: Path, root: Path, objects: Path) -> None:
        self.engine = engine
        self._folder, self._root, self._objects = folder, root, objects

    def load(
        self,
        file: str | Path,
        program: str | None = None,
        *,
        flags: tuple[str, ...] = (),
        **options: Any,
    ) -> UnderTest:
        """The program of an object, or of a C source, which clang compiles with `flags` (once a session).

        Looked up beside the test, then from the root of the test run. `program` is needed where there are several.
        Options are those of `pf.load`. Skips the test where a source needs a clang that is not there.
        """
        from .errors import InputError
        from .handles.loader import load
        from .testing.compile import compile_source, compiler
        from .testing.programs import UnderTest

        path = _find(Path(file), self._folder, self._root)
        if not path.exists():
            raise InputError(
                "no such object or source",
                file=str(file),
                hint=f"looked in {self._folder} and {self._root}",
            )
        if path.suffix == ".c":
            clang = compiler()
            if clang is None:
                pytest.skip(f"{path.name} needs clang to be compiled")
            path = compile_source(path, self._objects, clang, flags)
        obj = load(path, **options)
        return UnderTest(obj, obj.program(program), self.engine)


@pytest.fixture
def _xdp_engine(request: pytest.FixtureRequest) -> str:
    chosen = str(getattr(request, "param", request.config.getoption("--xdp-engine")))
    # A test that asks for the fixture by name while it runs cannot be made into several.
    return "auto" if chosen == "all" else chosen


@pytest.fixture(scope="session")
def _xdp_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xdp-objects")


@pytest.fixture
def xdp(request: pytest.FixtureRequest, _xdp_engine: str, _xdp_objects: Path) -> Xdp:
    """Loads XDP programs and runs packets through them: `xdp.load("fw.o").run(packet).expect("drop")`."""
    return Xdp(_xdp_engine, request.path.parent, request.config.rootpath, _xdp_objects)
