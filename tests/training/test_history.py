import json
from pathlib import Path

import pytest

from dualhmr_training.checkpoints import RunningMeans
from dualhmr_training.run import History


def rows(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_added(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path, step=0)
    assert not path.exists()
    history.append(2, {"a/b": 0.1})
    history.append(4, {"a/b": 0.2})
    assert [(row["step"], row["a/b"]) for row in rows(path)] == [(2, 0.1), (4, 0.2)]
    assert rows(path)[0]["time"] <= rows(path)[1]["time"]


def test_rows_beyond_the_checkpoint_go(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path, step=0)
    for step in (2, 4, 6, 8):
        history.append(step, {})
    History(path, step=5).append(6, {"again": 1})
    assert [row["step"] for row in rows(path)] == [2, 4, 6]
    assert rows(path)[-1]["again"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_was_cut_short_goes(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 2}\n' + '{"step": 4}\n'[:cut])
    History(path, step=9).append(6, {})
    # All but the line's end was written: the row is whole.
    assert [row["step"] for row in rows(path)] == ([2, 4, 6] if cut == 11 else [2, 6])


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b"9" * 5000, b'{"time": 1}', b"{"])
def test_a_damaged_line_among_rows_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "history.jsonl"
    content = b'{"step": 1}\n' + line + b'\n{"step": 3}\n'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.jsonl: line 2 is damaged: ") as caught:
        History(path, step=1)
    assert len(str(caught.value)) < 1000
    assert path.read_bytes() == content


def test_a_history_without_overhang_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    History(path, step=0).append(2, {})
    before = path.stat()
    History(path, step=2)
    assert path.stat() == before


def test_means_of_what_was_watched() -> None:
    running_means = RunningMeans().plus({"a": 1.0, "b": 2.0}).plus({"a": 3.0, "b": 5.0})
    assert running_means.means() == {"a": 2.0, "b": 3.5}
    assert RunningMeans().means() == {}


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs Linux's full device")
def test_a_full_disk_names_the_history(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.symlink_to("/dev/full")
    history = History(tmp_path / "other.jsonl", step=0)
    history._path = path
    with pytest.raises(OSError, match=r"No space left on device.*history\.jsonl"):
        history.append(1, {"a": 1.0})
