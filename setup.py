"""Builds the C core once, as one shared library in the package, and the Cython modules over it.

Environment: PKTFILTER_DEBUG=1 builds with assertions; PKTFILTER_SANITIZE=address,undefined adds sanitizers
(run Python with the sanitizer's runtime preloaded then).
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
CORE = "pktfilter/_core"
LIBRARY = "libpktfilter.so"
SANITIZE = os.environ.get("PKTFILTER_SANITIZE", "")
DEBUG = os.environ.get("PKTFILTER_DEBUG") == "1"

C_FLAGS = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-g",
    "-fvisibility=hidden",
    "-fno-plt",
    "-Wall",
    "-Wextra",
]
if DEBUG:
    C_FLAGS.append("-DPF_DEBUG")
if SANITIZE:
    C_FLAGS += [
        f"-fsanitize={SANITIZE}",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
    ]
LINK_FLAGS = [f"-fsanitize={SANITIZE}"] if SANITIZE else []


# A changed struct means every module over it anew.
HEADERS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.[hd]*"))


class BuildCore(build_ext):
    """build_ext that first makes the core library and puts it beside the extension modules."""

    def library_path(self) -> Path:
        return Path(self.build_lib) / CORE / LIBRARY

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        self.copy_file(str(self.library_path()), str(ROOT / CORE / LIBRARY))

    def build_extensions(self) -> None:
        library = self.library_path()
        library.parent.mkdir(parents=True, exist_ok=True)
        sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.c"))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(self.compile_one, sources))
        self.compiler.link_shared_object(
            objects,
            str(library),
            libraries=["pthread"],
            extra_postargs=[*LINK_FLAGS, f"-Wl,-soname,{LIBRARY}"],
        )
        for extension in self.extensions:
            extension.library_dirs.append(str(library.parent))
        self.parallel = os.cpu_count()
        super().build_extensions()

    def compile_one(self, source: str) -> str:
        return self.compiler.compile([source], output_dir=self.build_temp, extra_postargs=C_FLAGS)[
            0
        ]

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(self.library_path())]


def extension(path: Path) -> Extension:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return Extension(
        name,
        [str(path.relative_to(ROOT))],
        include_dirs=["csrc"],
        depends=HEADERS,
        libraries=["pktfilter"],
        runtime_library_dirs=["$ORIGIN"],
        extra_compile_args=[
            "-std=c11",
            "-D_GNU_SOURCE",
            "-O2",
            *([f"-fsanitize={SANITIZE}"] if SANITIZE else []),
        ],
        extra_link_args=LINK_FLAGS,
    )


if sys.platform != "linux":
    sys.exit("pktfilter builds on Linux only")

setup(
    cmdclass={"build_ext": BuildCore},
    ext_modules=cythonize(
        [extension(p) for p in sorted((ROOT / CORE).glob("*.pyx"))],
        compiler_directives={"language_level": 3, "freethreading_compatible": True},
        include_path=[str(ROOT)],
    ),
)
