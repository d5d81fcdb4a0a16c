import dataclasses
import errno
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.tensorrt_graphs import graph, write_with_weights_beside
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualhmr.engines.onnx_check import check_onnx
from dualhmr.engines.tensorrt import cache
from dualhmr.engines.tensorrt.build import BuiltEngine
from dualhmr.engines.tensorrt.cache import (
    cached_engine,
    engine_facts,
    engine_folders,
    key_of,
    prebuild,
    read_file,
    write_file,
)
from dualhmr.engines.tensorrt.library import Library, load_library

RTX = load_library("tensorrt_rtx")
PROPER = Library(ModuleType("tensorrt"), "tensorrt", "11.4.0", "13")
FACTS = {"library": "tensorrt_rtx", "capability": "sm86"}
ENGINE = bytes(range(256))
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Builds:
    """Takes the builder's place, and counts."""

    def __init__(self, timing_cache: bytes | None = None) -> None:
        self.settings: list[dict[str, Any]] = []
        self.timing_cache = timing_cache

    def __call__(self, _onnx: bytes, **settings: Any) -> BuiltEngine:
        self.settings.append(settings)
        return BuiltEngine(f"engine {len(self.settings)}".encode(), self.timing_cache)

    @property
    def count(self) -> int:
        return len(self.settings)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Builds]:
    counted = Builds()
    monkeypatch.setattr(cache, "build_engine", counted)
    return counted


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    path = tmp_path / "bundle" / "backbone.onnx"
    path.parent.mkdir()
    path.write_bytes(graph())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.engine"
    write_file(path, FACTS, ENGINE)
    return path


def found(onnx_path: Path, own: Path | None = None, **settings: Any) -> tuple[bytes, Path | None]:
    folders = engine_folders(onnx_path, own or onnx_path.parents[1] / "cache")
    chosen = {
        "library": RTX,
        "max_batch": 8,
        "capability": "sm86",
        "gpu_name": "RTX 3090",
        "folders": folders,
    }
    return cached_engine(onnx_path, **chosen | settings)


def test_every_fact_is_in_the_key() -> None:
    def key(onnx: bytes = b"x", library: Library = PROPER, **changed: Any) -> str:
        settings = {"max_batch": 8, "capability": "sm86", "gpu_name": "RTX 3090"}
        return key_of(engine_facts(onnx, library=library, **settings | changed))

    keys = [
        key(),
        key(b"y"),
        key(max_batch=4),
        key(tf32=True),
        key(capability="sm89"),
        key(gpu_name="RTX A4000"),
        *(
            key(library=dataclasses.replace(PROPER, **{name: "10.9"}))
            for name in ("name", "version", "cuda_version")
        ),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key()
    # RTX's engines run on every GPU of their compute capability.
    assert key(library=RTX) == key(library=RTX, gpu_name="RTX A4000")


def test_an_engine_is_built_once(onnx_path: Path) -> None:
    engine, path = found(onnx_path)
    assert path is not None
    built = path.stat().st_mtime_ns
    assert found(onnx_path) == (engine, path)
    assert path.stat().st_mtime_ns == built
    assert path.read_bytes() == engine
    assert path.parent == onnx_path.parents[1] / "cache"
    assert path.name.startswith("backbone.sm86.")
    assert f'"onnx_sha256":"{hashlib.sha256(graph()).hexdigest()}"'.encode() in engine


def test_weights_beside_the_graph_are_built_in(
    onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_with_weights_beside(onnx_path)
    check_onnx(onnx_path)
    monkeypatch.chdir(onnx_path.parent)
    engine, path = found(Path(onnx_path.name), tmp_path)
    assert len(engine) > (onnx_path.parent / "backbone.onnx.data").stat().st_size > 1e5
    assert found(onnx_path, tmp_path) == (engine, path)
    write_with_weights_beside(onnx_path, scale=2)  # the graph is the same
    other, other_path = found(onnx_path, tmp_path)
    assert other != engine
    assert other_path != path
    (onnx_path.parent / "backbone.onnx.data").unlink()
    with pytest.raises(ValueError, match="weights"):
        found(onnx_path, tmp_path)


def test_its_facts_lie_beside_it_and_an_empty_lock(onnx_path: Path) -> None:
    path = found(onnx_path)[1]
    assert path is not None
    record = json.loads((path.parent / f"{path.name}.json").read_text())
    assert record["facts"]["library_version"] == RTX.version
    others = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    others = {name: size for name, size in others.items() if size and name != path.name}
    assert list(others) == [f"{path.name}.json"]


def test_other_circumstances_take_another_engine(onnx_path: Path, builds: Builds) -> None:
    found(onnx_path)
    found(onnx_path, max_batch=4)
    found(onnx_path, capability="sm89")
    found(onnx_path, library=dataclasses.replace(RTX, version="1.8"))
    onnx_path.write_bytes(graph(features=5))
    found(onnx_path)
    found(onnx_path, tf32=True)
    assert builds.count == 6
    assert [settings["target"] for settings in builds.settings[1:3]] == ["sm86", "sm89"]
    assert [settings["tf32"] for settings in builds.settings[4:]] == [False, True]


def test_the_log_says_why_another_engine_does_not_fit(
    onnx_path: Path, builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found(onnx_path, library=dataclasses.replace(RTX, version="1.0"))
    found(onnx_path)
    assert f"library_version 1.0 instead of {RTX.version}" in caplog.text
    assert builds.count == 2


@pytest.mark.parametrize("harm", ["damaged", "foreign", "stale", "bare"])
def test_an_engine_that_is_not_right_is_built_again(
    onnx_path: Path, builds: Builds, harm: str
) -> None:
    path = found(onnx_path)[1]
    assert path is not None
    record = path.with_name(f"{path.name}.json")
    if harm == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "foreign":
        path.write_bytes(b"ftrt of somebody else")
    elif harm == "stale":
        facts = json.loads(record.read_text())["facts"]
        write_file(path, facts | {"library_version": "1.0"}, b"old engine")
    else:
        record.unlink()
    assert found(onnx_path)[0] == b"engine 2"
    assert found(onnx_path)[0] == b"engine 2"
    assert builds.count == 2


def test_a_prebuilt_engine_comes_first(onnx_path: Path, builds: Builds) -> None:
    path = prebuild(onnx_path, onnx_path.parent / "engines", max_batch=8, target="sm86")
    assert path.parent == onnx_path.parent / "engines"
    assert found(onnx_path) == (b"engine 1", path)
    assert prebuild(onnx_path, path.parent, max_batch=8, target="sm86") == path
    assert builds.count == 1
    assert found(onnx_path, capability="sm89")[0] == b"engine 2"


def test_an_engine_is_really_prebuilt(onnx_path: Path) -> None:
    folder = onnx_path.parent / "engines"
    path = prebuild(onnx_path, folder, max_batch=2, target="sm80", library=RTX)
    assert sorted(folder.iterdir()) == [path, path.with_name(f"{path.name}.json")]
    engine, used = found(onnx_path, capability="sm80", max_batch=2)
    assert used == path
    assert b'"capability":"sm80"' in engine


def test_prebuilding_for_no_gpu_at_all_is_refused(
    onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "find_gpu", lambda: None)
    with pytest.raises(RuntimeError, match="such as sm86"):
        prebuild(onnx_path, onnx_path.parent, max_batch=8)


def test_prebuilding_for_another_gpu_takes_a_library_that_can(onnx_path: Path) -> None:
    with pytest.raises(ValueError, match="the GPU of this machine only, not for 'sm86'"):
        prebuild(onnx_path, onnx_path.parent, max_batch=8, target="sm86", library=PROPER)


def test_without_a_writable_cache_the_process_keeps_engines(
    onnx_path: Path, builds: Builds
) -> None:
    file = onnx_path.parent / "a file"
    file.write_text("")
    with pytest.warns(UserWarning, match="cannot be kept in .*a file.*DUALHMR_CACHE") as warned:
        engine, path = found(onnx_path, file / "cache")
    assert warned[0].filename == __file__
    assert path is not None
    assert path.is_file()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert found(onnx_path, file / "cache")[0] == engine
    assert builds.count == 1


def test_with_nowhere_to_write_engines_are_used_from_memory(
    onnx_path: Path, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", no_room)
    cache._temporary_folder.cache_clear()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert found(onnx_path, onnx_path / "cache") == (b"engine 1", None)
    cache._temporary_folder.cache_clear()
    assert builds.count == 1


def test_a_full_disk_is_warned_of(
    onnx_path: Path, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _facts: object, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_file", full)
        with pytest.warns(UserWarning, match="No space left on device.*used from memory") as warned:
            assert found(onnx_path) == (b"engine 1", None)
    assert warned[0].filename == __file__
    assert {file.suffix for file in (onnx_path.parents[1] / "cache").iterdir()} <= {".lock"}
    assert found(onnx_path)[0] == b"engine 2"
    assert builds.count == 2


def test_timings_are_kept_for_the_next_build(onnx_path: Path, builds: Builds) -> None:
    builds.timing_cache = b"timings"
    found(onnx_path, library=PROPER)
    found(onnx_path, library=PROPER, max_batch=4)
    found(onnx_path, library=dataclasses.replace(PROPER, version="11.5"))
    assert [settings["timing_cache"] for settings in builds.settings] == [None, b"timings", None]
    assert builds.settings[0]["target"] is None


def test_damaged_timings_are_ignored(onnx_path: Path, builds: Builds) -> None:
    builds.timing_cache = b"timings"
    path = found(onnx_path, library=PROPER)[1]
    assert path is not None
    timings = [file for file in path.parent.glob("timings.*") if file.suffix != ".json"]
    timings[0].write_bytes(timings[0].read_bytes()[:-1])
    found(onnx_path, library=PROPER, max_batch=4)
    assert builds.settings[1]["timing_cache"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms keep caches elsewhere")
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


def test_without_a_home_the_cache_is_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUALHMR_CACHE", raising=False)
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/x"))
    own = engine_folders(Path("x.onnx"))[1]
    assert own.parent.is_dir()
    assert own.parent == cache._temporary_folder()


def test_what_is_written_is_read(path: Path) -> None:
    assert read_file(path, FACTS) == ENGINE
    assert path.read_bytes() == ENGINE


@same_folder
@given(data=st.data())
def test_no_changed_or_cut_file_is_used(path: Path, data: st.DataObject) -> None:
    damaged = bytearray(ENGINE)
    damaged[data.draw(st.integers(0, len(ENGINE) - 1))] ^= data.draw(st.integers(1, 255))
    shorter = ENGINE[: data.draw(st.integers(0, len(ENGINE) - 1))]
    longer = ENGINE + data.draw(st.binary(min_size=1))
    for content in (damaged, shorter, longer):
        path.write_bytes(content)
        assert read_file(path, FACTS) is None
    path.write_bytes(ENGINE)
    assert read_file(path, FACTS) == ENGINE


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"{}", b'{"facts": 1, "sha256": ""}', b"[" * 60000, b"\xff"]
)
def test_a_record_of_another_form_is_not_used(path: Path, record: bytes) -> None:
    path.with_name(f"{path.name}.json").write_bytes(record)
    assert read_file(path, FACTS) is None


def test_the_fact_that_differs_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert read_file(path, FACTS | {"capability": "sm89"}) is None
    assert "it was made with capability sm86 instead of sm89" in caplog.text
    assert read_file(path, {"library": "tensorrt_rtx"}) is None
    assert "capability sm86 instead of None" in caplog.text


def test_a_missing_file_is_not_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_file(path.with_name("other"), FACTS) is None
    assert read_file(path / "inside a file", FACTS) is None
    assert caplog.text == ""


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            write_file(path, FACTS, ENGINE * 1000)
    assert read_file(path, FACTS) == ENGINE
    assert len(list(path.parent.iterdir())) == 2


_SLOW_BUILD = """
import hashlib, sys, time
from pathlib import Path
from dualhmr.engines.tensorrt import cache
from dualhmr.engines.tensorrt.library import load_library

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
engine, _ = cache.cached_engine(
    onnx_path, library=library, max_batch=8, capability="sm86", gpu_name="",
    folders=[folder / "cache"],
)
print(hashlib.sha256(engine).hexdigest())
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
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len((tmp_path / "builds").read_text()) == 1
    assert printed[0] == printed[1] != ""
