"""What the packages that the extras ask for need in their turn, asked of the registry by pip.

    python scripts/package_facts.py [--libraries]

Writes tests/package_facts.json, which tests/test_extras.py compares with pyproject.toml, and prints
the table of wheels in docs/how_to/edge.md. Needs a network and a recent pip, which installs
nothing. `--libraries` also downloads onnxruntime-gpu, twice 270 MB, to see which libraries it is
linked to (needs readelf).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FACTS = ROOT / "tests" / "package_facts.json"
LINUX = ("manylinux_2_28_{}", "manylinux_2_17_{}", "manylinux2014_{}")
DEVICES = {
    "JetPack 6": ("3.10", "aarch64"),
    "Raspberry Pi OS 12": ("3.11", "aarch64"),
    "JetPack 7": ("3.12", "aarch64"),
    "Raspberry Pi OS 13": ("3.13", "aarch64"),
    "Windows": ("3.13", "win_amd64"),
}
"""The Python that comes with each, and the kind of its wheels."""
ASKED = ("onnxruntime-gpu==1.26.0", "onnxruntime-gpu==1.27.0", "onnxruntime-gpu==1.28.0",
         "onnxruntime-gpu", "torch==2.10.0", "torch==2.11.0", "torch", "cupy-cuda12x",
         "cupy-cuda13x")  # fmt: skip
"""The last of CUDA 12, the first of CUDA 13, and the newest."""
RESOLVED = ("base", "fast", "cuda12", "cuda13")
LINKED = ("onnxruntime-gpu==1.26.0", "onnxruntime-gpu")
# Their libraries are source distributions that download from NVIDIA's own registry.
NOT_RESOLVED = re.compile(r"tensorrt-cu1\d")


def report(*arguments: str) -> list[dict[str, Any]] | None:
    """What pip would install; None if there is nothing that fits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        # Without this machine's settings, as they may name builds that the registry does not have.
        settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
             "--only-binary=:all:", "--report", str(path), *arguments],
            env=os.environ | settings, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            print(done.stderr.strip().splitlines()[-1:], file=sys.stderr)
            return None
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["install"]
        return found


def pinned(found: list[dict[str, Any]]) -> dict[str, str]:
    """Versions by name, sorted."""
    names = ((each["metadata"]["name"], each["metadata"]["version"]) for each in found)
    return dict(sorted((name.lower().replace("_", "-"), version) for name, version in names))


def requirements(extra: str, pyproject: str) -> list[str]:
    """Of an extra, with those of the extras that it includes; "base": of the package alone."""
    key = "dependencies" if extra == "base" else extra
    (block,) = re.findall(rf"^{key} = \[(.*?)\]$", pyproject, re.MULTILINE | re.DOTALL)
    wanted = []
    for each in re.findall(r'"([^"]+)"', block):
        own = re.fullmatch(r"dualhmr\[(.*)\]", each)
        parts = own[1].split(",") if own else []
        wanted += [r for part in parts for r in requirements(part, pyproject)] if own else [each]
    return wanted


def wheels(device: str, names: list[str]) -> dict[str, str]:
    """The wheel of each package for a device, "" where there is none."""
    python, machine = DEVICES[device]
    tags = [machine] if machine.startswith("win") else [tag.format(machine) for tag in LINUX]
    common = ["--no-deps", "--python-version", python, "--target", "unused"]
    common += [part for tag in tags for part in ("--platform", tag)]
    found = report(*common, *names)
    if found is None:  # one of them has none
        return {name: wheels(device, [name])[name] if len(names) > 1 else "" for name in names}
    return pinned(found)


def linked_libraries(requirement: str) -> tuple[str, dict[str, list[str]]]:
    """Name and version, and CUDA's and TensorRT's libraries by provider."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder,
             requirement], check=True,
        )  # fmt: skip
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            files = [name for name in archive.namelist() if "libonnxruntime_providers" in name]
            archive.extractall(folder, files)
        name, version = wheel.name.split("-")[:2]
        return f"{name.replace('_', '-')}=={version}", {
            Path(name).stem.rpartition("_")[2]: _needed(Path(folder) / name)
            for name in files
            if "shared" not in name
        }


def _needed(library: Path) -> list[str]:
    listed = subprocess.run(
        ["readelf", "-d", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"\(NEEDED\).*\[(lib(?:cu|nv)\w+\.so\.\d+)\]", listed)
    return sorted(found)


def _asked(requirement: str) -> Iterator[tuple[str, list[str]]]:
    for each in report("--no-deps", requirement) or ():
        facts = each["metadata"]
        needed = [r for r in facts.get("requires_dist", ()) if re.search(r"nvidia-|cuda-", r)]
        yield f"{facts['name'].lower().replace('_', '-')}=={facts['version']}", needed


def main() -> None:
    """Asks, writes, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--libraries", action="store_true", help="download onnxruntime-gpu as well")
    options = parser.parse_args()
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    facts = json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.is_file() else {}
    facts |= {"date": date.today().isoformat(), "platform": "Linux x86_64, Python "
              f"{sys.version_info.major}.{sys.version_info.minor}"}  # fmt: skip
    facts["requires"] = {name: needs for asked in ASKED for name, needs in _asked(asked)}
    facts["resolved"] = {}
    for extra in RESOLVED:
        wanted = [*requirements(extra, pyproject), *requirements("base", pyproject)]
        found = report(*(each for each in wanted if not NOT_RESOLVED.match(each)))
        facts["resolved"][extra] = pinned(found) if found else None
    base = [*facts["resolved"]["fast"], "torch"]
    facts["wheels"] = {device: wheels(device, base) for device in DEVICES}
    if options.libraries:
        facts["linked"] = dict(map(linked_libraries, LINKED))
    FACTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"| package | {' | '.join(DEVICES)} |\n|{' --- |' * (len(DEVICES) + 1)}")
    for name in base:
        print(f"| {name} | {' | '.join(facts['wheels'][d][name] or 'none' for d in DEVICES)} |")


if __name__ == "__main__":
    main()
