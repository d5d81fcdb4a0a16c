import dataclasses
import errno
import hashlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.tensorrt_graphs import graph

from dualhmr.engines.tensorrt import (
    BuiltEngine,
    CachedEngine,
    Library,
    Profile,
    cache,
    cached_engine,
    engine_folders,
    load_library,
    prebuild,
    profile_up_to,
)
from dualhmr.engines.tensorrt import cache as engine_files
from dualhmr.engines.tensorrt import cache as prebuilding
from dualhmr.engines.tensorrt.cache import EngineKey, engine_key

RTX = load_library("tensorrt_rtx")
PROPER = Library(ModuleType("tensorrt"), "tensorrt", "11.4.0", "13")
KEY = EngineKey("ab" * 32, "fp32", "1-1-8", "tensorrt", "11.4.0", "13", "sm86", "linux x86_64 A")


class Builds:
    """Takes the builder's place, and counts."""

    def __init__(self, timing_cache: bytes | None = None) -> None:
        self.settings: list[dict[str, Any]] = []
        self.timing_cache = timing_cache

    def __call__(self, _onnx: bytes, **settings: Any) -> BuiltEngine:
        self.settings.append(settings)
        engine = f"engine {len(self.settings)}".encode()
        return BuiltEngine(engine, self.timing_cache, 0.0, ())

    @property
    def count(self) -> int:
        return len(self.settings)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Builds]:
    counted = Builds()
    monkeypatch.setattr(cache, "build_engine", counted)
    monkeypatch.setattr(prebuilding, "build_engine", counted)
    return counted


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    path = tmp_path / "bundle" / "backbone.onnx"
    path.parent.mkdir()
    path.write_bytes(graph())
    return path


def found(onnx_path: Path, own: Path | None = None, **settings: Any) -> CachedEngine:
    folders = engine_folders(onnx_path, own or onnx_path.parents[1] / "cache")
    chosen = {
        "library": RTX,
        "profile": profile_up_to(8),
        "capability": "sm86",
        "gpu_name": "RTX 3090",
        "folders": folders,
    }
    return cached_engine(onnx_path, **chosen | settings)


def test_every_ingredient_is_in_the_key() -> None:
    digests = {KEY.digest()}
    for ingredient in dataclasses.fields(KEY):
        digests.add(dataclasses.replace(KEY, **{ingredient.name: "another"}).digest())
    assert len(digests) == 1 + len(dataclasses.fields(KEY))
    assert KEY.digest() == dataclasses.replace(KEY).digest()


def test_every_circumstance_is_in_the_key() -> None:
    def digest(onnx: bytes = b"x", library: Library = PROPER, **changed: Any) -> str:
        settings = {"profile": Profile(1, 1, 8), "capability": "sm86", "gpu_name": "RTX 3090"}
        return engine_key(onnx, library=library, **settings | changed).digest()

    digests = [
        digest(),
        digest(b"y"),
        digest(precision="fp16"),
        digest(profile=Profile(1, 1, 4)),
        digest(profile=Profile(1, 2, 8)),
        digest(profile=Profile(2, 2, 8)),
        digest(capability="sm89"),
        digest(gpu_name="RTX A4000"),
        *(
            digest(library=dataclasses.replace(PROPER, **{name: "10.9"}))
            for name in ("name", "version", "cuda_version")
        ),
    ]
    assert len(set(digests)) == len(digests)
    # RTX's engines run on every GPU of their compute capability.
    assert digest(library=RTX) == digest(library=RTX, gpu_name="RTX A4000")


def test_an_engine_is_built_once(onnx_path: Path) -> None:
    first, second = found(onnx_path), found(onnx_path)
    assert first.built is not None
    assert second.built is None
    assert second.engine == first.engine
    assert second.path == first.path
    assert first.path is not None
    assert first.path.parent == onnx_path.parents[1] / "cache"
    assert first.path.name.startswith("backbone.sm86.")
    assert f'"onnx_sha256":"{hashlib.sha256(graph()).hexdigest()}"'.encode() in first.engine


def test_nothing_but_an_empty_lock_stays_beside_it(onnx_path: Path) -> None:
    path = found(onnx_path).path
    assert path is not None
    others = set(path.parent.iterdir()) - {path}
    assert {(other.name, other.stat().st_size) for other in others} <= {(f"{path.name}.lock", 0)}


def test_other_circumstances_take_another_engine(onnx_path: Path, builds: Builds) -> None:
    found(onnx_path)
    found(onnx_path, profile=profile_up_to(4))
    found(onnx_path, precision="fp16")
    found(onnx_path, capability="sm89")
    found(onnx_path, library=dataclasses.replace(RTX, version="1.8"))
    onnx_path.write_bytes(graph(features=5))
    found(onnx_path)
    assert builds.count == 6
    assert [settings["target"] for settings in builds.settings[2:4]] == ["sm86", "sm89"]


def test_why_another_engine_does_not_serve_is_noted(
    onnx_path: Path, builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found(onnx_path, library=dataclasses.replace(RTX, version="1.0"))
    found(onnx_path)
    assert f"library_version 1.0 instead of {RTX.version}" in caplog.text
    assert builds.count == 2


@pytest.mark.parametrize("harm", ["damaged", "foreign", "stale"])
def test_an_engine_that_is_not_right_is_built_again(
    onnx_path: Path, builds: Builds, harm: str
) -> None:
    first = found(onnx_path)
    assert first.path is not None
    content = first.path.read_bytes()
    facts = engine_files.read_facts(first.path)
    assert facts is not None
    if harm == "damaged":
        first.path.write_bytes(content[:-1] + b"!")
    elif harm == "foreign":
        first.path.write_bytes(b"ftrt of somebody else")
    else:
        engine_files.write_sealed(first.path, facts | {"library_version": "1.0"}, b"old engine")
    assert found(onnx_path).engine == b"engine 2"
    assert found(onnx_path).engine == b"engine 2"
    assert builds.count == 2


def test_a_prebuilt_engine_comes_first(onnx_path: Path, builds: Builds) -> None:
    path = prebuild(
        onnx_path, onnx_path.parent / "engines", profile=profile_up_to(8), target="sm86"
    )
    assert path.parent == onnx_path.parent / "engines"
    assert found(onnx_path) == (b"engine 1", path, None)
    assert prebuild(onnx_path, path.parent, profile=profile_up_to(8), target="sm86") == path
    assert builds.count == 1
    assert found(onnx_path, capability="sm89").engine == b"engine 2"


def test_an_engine_is_really_prebuilt(onnx_path: Path) -> None:
    folder = onnx_path.parent / "engines"
    path = prebuild(onnx_path, folder, profile=profile_up_to(2), target="sm80", library=RTX)
    assert list(folder.iterdir()) == [path]
    engine = found(onnx_path, capability="sm80", profile=profile_up_to(2))
    assert engine.built is None
    assert b'"capability":"sm80"' in engine.engine


def test_prebuilding_for_no_gpu_at_all_is_refused(
    onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prebuilding, "find_gpu", lambda: None)
    with pytest.raises(RuntimeError, match="such as sm86"):
        prebuild(onnx_path, onnx_path.parent, profile=profile_up_to(8))


def test_a_cache_that_cannot_be_written_is_done_without(onnx_path: Path, builds: Builds) -> None:
    file = onnx_path.parent / "a file"
    file.write_text("")
    with pytest.warns(UserWarning, match="cannot be kept in .*a file.*DUALHMR_CACHE") as warned:
        first = found(onnx_path, file / "cache")
    assert warned[0].filename == __file__
    assert first.path is not None
    assert first.path.is_file()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert found(onnx_path, file / "cache").engine == first.engine
    assert builds.count == 1


def test_with_nowhere_to_write_engines_are_used_from_memory(
    onnx_path: Path, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room() -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dualhmr.engines.tensorrt.cache._temporary_folder", no_room)
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert found(onnx_path, onnx_path / "cache")[:2] == (b"engine 1", None)
    assert builds.count == 1


def test_a_full_disk_is_warned_of(
    onnx_path: Path, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _facts: object, _payload: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_sealed", full)
        with pytest.warns(UserWarning, match="No space left on device.*used from memory"):
            assert found(onnx_path)[:2] == (b"engine 1", None)
    assert {file.suffix for file in (onnx_path.parents[1] / "cache").iterdir()} <= {".lock"}
    assert found(onnx_path).engine == b"engine 2"
    assert builds.count == 2


def test_timings_are_kept_for_the_next_build(onnx_path: Path, builds: Builds) -> None:
    builds.timing_cache = b"timings"
    found(onnx_path, library=PROPER)
    found(onnx_path, library=PROPER, precision="fp16")
    found(onnx_path, library=dataclasses.replace(PROPER, version="11.5"))
    assert [given["timing_cache"] for given in builds.settings] == [None, b"timings", None]
    assert builds.settings[0]["target"] is None


def test_damaged_timings_are_ignored(onnx_path: Path, builds: Builds) -> None:
    builds.timing_cache = b"timings"
    path = found(onnx_path, library=PROPER).path
    assert path is not None
    (timings,) = path.parent.glob("timings.*")
    timings.write_bytes(timings.read_bytes()[:-1])
    found(onnx_path, library=PROPER, precision="fp16")
    assert builds.settings[1]["timing_cache"] is None


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("DUALHMR_CACHE", "chosen/engines"), ("XDG_CACHE_HOME", "chosen/dualhmr/engines")],
)
def test_where_the_cache_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, expected: str
) -> None:
    monkeypatch.delenv("DUALHMR_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    beside, own = engine_folders(tmp_path / "bundle" / "backbone.onnx")
    assert beside == tmp_path / "bundle" / "engines"
    assert own == tmp_path / "home" / ".cache" / "dualhmr" / "engines"
    monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    assert engine_folders(tmp_path / "bundle" / "backbone.onnx")[1] == tmp_path / expected
    assert engine_folders(tmp_path / "x.onnx", tmp_path / "mine")[1] == tmp_path / "mine"


def test_where_the_cache_is_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUALHMR_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert engine_folders(tmp_path / "x.onnx")[1] == tmp_path / "dualhmr" / "engines"


_SLOW_BUILD = """
import hashlib, sys, time
from pathlib import Path
from dualhmr.engines.tensorrt import cache, load_library, profile_up_to

onnx_path, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
real = cache.build_engine

def slow(onnx, **settings):
    with (folder / "builds").open("a") as log:
        log.write(name)
    time.sleep(1)
    return real(onnx, **settings)

cache.build_engine = slow
library = load_library("tensorrt_rtx")
(folder / f"ready {name}").touch()
while len(list(folder.glob("ready *"))) < 2:
    time.sleep(0.01)
found = cache.cached_engine(
    onnx_path, library=library, profile=profile_up_to(8), capability="sm86", gpu_name="",
    folders=[folder / "cache"],
)
print(hashlib.sha256(found.engine).hexdigest(), found.built is None)
"""


def test_of_two_processes_one_builds_and_both_use_it(onnx_path: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SLOW_BUILD, str(onnx_path), str(tmp_path), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "AB"
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len((tmp_path / "builds").read_text()) == 1
    assert printed[0][0] == printed[1][0]
    assert {line[1] for line in printed} == {"True", "False"}
