"""Disk and memory of `pip install dualhmr` alone: a clean environment, the example recovered in it.

    python benchmarks/scripts/small_install.py .
    python benchmarks/scripts/small_install.py . --extras fast video serve

Installs the project, or a wheel of it. Prints what it and its dependencies add to an empty
environment, the largest packages, and the memory and time of `dualhmr recover --example` there,
first and second run. Exits with 1 beyond the bounds. With `--extras`: what each of them adds to
`dualhmr` alone; nothing is run. PyTorch is the build that pip finds: give pip the index of the CPU
builds, or a constraint, for theirs. Unix only; needs nothing but the standard library.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_MB, MOST_RESIDENT_MB = 250, 400
_NOT_THERE = ("torch", "numba", "scipy", "onnx")


def megabytes(folder: Path) -> float:
    """On the disk, in blocks, as `du` counts."""
    blocks = [path.lstat().st_blocks for path in folder.rglob("*")]
    return 512 * sum(blocks) / 1e6


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and the most resident megabytes of a command. Raises CalledProcessError."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    resident = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return time.perf_counter() - start, resident / 1e6


def install(folder: Path, what: str) -> None:
    """Installs with the environment's own pip."""
    subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", what], check=True)


def new_environment(folder: Path) -> float:
    """Makes an empty environment, in place of what is there; its megabytes."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return megabytes(folder)


def measure_extras(project: Path, extras: list[str], folder: Path) -> None:
    """Prints what each extra adds to an environment that holds `dualhmr` alone."""
    for extra in extras:
        new_environment(folder)
        install(folder, str(project.resolve()))
        base = megabytes(folder)
        install(folder, f"{project.resolve()}[{extra}]")
        print(f"{extra}: {megabytes(folder) - base:.0f} MB", flush=True)


def measure(project: Path, folder: Path) -> bool:
    """Prints the measurements; whether they are within the bounds."""
    empty = new_environment(folder)
    install(folder, str(project.resolve()))
    added = megabytes(folder) - empty
    print(f"disk: {added:.0f} MB, at most {MOST_MB}; an empty environment: {empty:.0f} MB")
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    sizes = {path.name: megabytes(path) for path in packages.iterdir() if path.is_dir()}
    for name in sorted(sizes, key=lambda name: -sizes[name])[:8]:
        print(f"  {name} {sizes[name]:.0f} MB")
    there = [name for name in _NOT_THERE if (packages / name).exists()]
    if there:
        print(f"installed, but not needed: {', '.join(there)}")
    command = str(folder / "bin" / "dualhmr")
    most = 0.0
    for attempt in ("first", "second"):
        out = str(folder / "out")
        seconds, resident = run([command, "recover", "--example", "--out", out])
        most = max(most, resident)
        print(f"{attempt} run: {seconds:.1f} s, {resident:.0f} MB, at most {MOST_RESIDENT_MB}")
    return added <= MOST_MB and most <= MOST_RESIDENT_MB and not there


def main() -> int:
    """Reads the command line; 1 beyond the bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", type=Path, help="a wheel, or the folder of pyproject.toml")
    parser.add_argument("--folder", type=Path, help="of the environment, kept (default: temporary)")
    parser.add_argument("--extras", nargs="+", metavar="EXTRA", help="measure these, run nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "environment"
        if options.extras:
            measure_extras(options.project, options.extras, folder)
            return 0
        return 0 if measure(options.project, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
