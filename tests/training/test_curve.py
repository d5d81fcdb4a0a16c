import json
from pathlib import Path

import pytest
from PIL import Image

from dualhmr_training.curve import loss_sums, main, read_history

ROWS = [
    {
        "step": step,
        "time": 0.0,
        "main/keypoints_2d": 3.0 / step,
        "main/rotations": 1.0,
        "main/gradient_norm": 50.0,
        "main/mpjpe": 90.0,
        "main/pa_mpjpe": 60.0 / step,
        "adapted/pa_mpjpe": 55.0 / step,
    }
    for step in (1, 2, 3)
]


def write_history(run: Path, text: str | None = None) -> Path:
    run.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (run / "history.jsonl").write_text(lines if text is None else text, "utf-8")
    return run


def test_histories_come_back(tmp_path: Path) -> None:
    assert read_history(write_history(tmp_path / "run")) == ROWS


def test_losses_are_added_and_nothing_else() -> None:
    assert loss_sums(ROWS, "main") == [4.0, 2.5, 2.0]
    assert loss_sums(ROWS, "auxiliary") == [0.0, 0.0, 0.0]


def test_the_plot_shows_every_training(tmp_path: Path) -> None:
    runs = [write_history(tmp_path / name) for name in ("first", "second")]
    sizes = []
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        main([*map(str, runs[:count]), "--out", str(path)])
        with Image.open(path) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
        sizes.append(len(colours or []))
        assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= {colour for _, colour in colours or []}
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("text", ["{\n", "[1, 2]\n", '{"step": null}\n', '{"a": 1}\n'])
def test_a_damaged_history_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"run/history\.jsonl: line 1 is damaged"):
        read_history(write_history(tmp_path / "run", text))


def test_what_cannot_be_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="holds no training that has reported yet"):
        main([str(tmp_path), "--out", str(tmp_path / "curve.png")])
    with pytest.raises(ValueError, match=r"its suffix must be \.png"):
        main([str(write_history(tmp_path / "run")), "--out", str(tmp_path / "curve.bmp")])
    with pytest.raises(SystemExit):
        main([str(tmp_path)] * 5 + ["--out", str(tmp_path / "curve.png")])
    assert "5 trainings in one plot, expected at most 4" in capsys.readouterr().err
    assert not list(tmp_path.glob("curve.*"))
