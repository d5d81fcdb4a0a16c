import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualhmr import files
from dualhmr.files import atomic_path, markdown_table, sha256, write_json


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "result.npz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"whole")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
    assert target.read_bytes() == b"whole"
    assert listing(tmp_path) == ["result.npz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["result.txt"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with atomic_path(str(target)) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_permissions_are_those_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    with pytest.raises(FileNotFoundError, match="absent does not exist"), atomic_path(folder / "a"):
        pass
    assert not folder.exists()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"), atomic_path(tmp_path):
        pass


def test_permission_errors_name_the_file_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    denied = pytest.raises(PermissionError, match="no permission to write")
    with denied as caught, atomic_path(target) as temporary:
        raise PermissionError(13, "denied", str(temporary))
    assert caught.value.filename == str(target)


def test_permission_errors_of_other_files_pass_unchanged(tmp_path: Path) -> None:
    error = PermissionError(13, "denied", os.fspath(tmp_path / "other"))
    with pytest.raises(PermissionError) as caught, atomic_path(tmp_path / "result.txt"):
        raise error
    assert caught.value is error


def test_the_longest_names_still_fit(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250 + ".txt")
    with atomic_path(target) as temporary:
        temporary.write_text("")
    assert listing(tmp_path) == [target.name]


def test_json_that_is_not_finite_leaves_nothing_behind(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"loss": 1.5})
    assert (tmp_path / "a.json").read_text() == '{\n  "loss": 1.5\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_markdown_tables_escape_what_would_end_a_cell() -> None:
    rows = [["name", "note"], ["a|b", "two\nlines"]]
    assert markdown_table(rows) == "| name | note |\n| --- | --- |\n| a\\|b | two lines |"


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_names_the_file(tmp_path: Path, code: int, named: bool) -> None:
    target = tmp_path / "result.npz"
    target.write_text("old")
    message = rf"{os.strerror(code)}.*result\.npz"
    with pytest.raises(OSError, match=message) as caught, atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise OSError(code, os.strerror(code), *([str(temporary)] if named else []))
    assert caught.value.errno == code
    assert caught.value.filename == str(target)
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["result.npz"]


def test_the_files_of_a_killed_process_are_swept_by_the_next(tmp_path: Path) -> None:
    killed = """
import os, sys
from pathlib import Path
from dualhmr.files import atomic_path
with atomic_path(Path(sys.argv[1]) / "big.npz") as temporary:
    temporary.write_text("half")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    (left,) = listing(tmp_path)
    parent = left.replace(left.split("-")[3], str(os.getppid()))
    (tmp_path / parent).touch()  # of a process that runs
    (tmp_path / ".mine.npz").touch()
    files._sweep_once.cache_clear()
    with atomic_path(tmp_path / "other.npz") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == sorted([parent, ".mine.npz", "other.npz"])
    long_ago = 1_000_000
    os.utime(tmp_path / parent, (long_ago, long_ago))
    files._sweep_once.cache_clear()
    with atomic_path(tmp_path / "other.npz") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == [".mine.npz", "other.npz"]
