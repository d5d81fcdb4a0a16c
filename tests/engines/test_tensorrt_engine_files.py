import errno
import logging
from io import BufferedWriter, FileIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualhmr.engines.tensorrt.cache import read_facts, read_sealed, write_sealed

FACTS = {"library": "tensorrt_rtx", "capability": "sm86"}
ENGINE = bytes(range(256))
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.engine"
    write_sealed(path, FACTS, ENGINE)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    assert read_sealed(path, FACTS) == ENGINE
    assert read_facts(path) == FACTS


@same_folder
@given(data=st.data())
def test_no_file_with_a_changed_byte_is_used(path: Path, data: st.DataObject) -> None:
    content = path.read_bytes()
    index = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[index] ^= data.draw(st.integers(1, 255))
    damaged = path.with_name("damaged.engine")
    damaged.write_bytes(changed)
    assert read_sealed(damaged, FACTS) is None


@same_folder
@given(data=st.data())
def test_no_shorter_or_longer_file_is_used(path: Path, data: st.DataObject) -> None:
    content = path.read_bytes()
    damaged = path.with_name("damaged.engine")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert read_sealed(damaged, FACTS) is None
    damaged.write_bytes(content + data.draw(st.binary(min_size=1)))
    assert read_sealed(damaged, FACTS) is None


@pytest.mark.parametrize("content", [b"", b"ftrt" * 100, b"dualhmr sealed 1\xff\xff\xff\xff"])
def test_a_foreign_file_is_not_used(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "foreign.engine"
    path.write_bytes(content)
    assert read_sealed(path, FACTS) is None
    assert read_facts(path) is None
    assert "foreign.engine is not used" in caplog.text


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"facts": 1, "sha256": ""}', b"[" * 60000])
def test_a_header_of_another_form_is_not_used(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "odd.engine"
    path.write_bytes(b"dualhmr sealed 1" + len(header).to_bytes(4, "little") + header + ENGINE)
    assert read_sealed(path, FACTS) is None


def test_the_ingredient_that_differs_is_noted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert read_sealed(path, FACTS | {"capability": "sm89"}) is None
    assert "it was made with capability sm86 instead of sm89" in caplog.text
    assert read_sealed(path, {"library": "tensorrt_rtx"}) is None
    assert "capability sm86 instead of None" in caplog.text


def test_a_missing_file_is_nothing_to_note(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_sealed(path.with_name("other"), FACTS) is None
    assert read_sealed(path / "inside a file", FACTS) is None
    assert caplog.text == ""


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(FileIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: BufferedWriter(FullDisk(self, mode)))
        with pytest.raises(OSError, match="No space left"):
            write_sealed(path, FACTS, ENGINE * 1000)
    assert read_sealed(path, FACTS) == ENGINE
    assert list(path.parent.iterdir()) == [path]
