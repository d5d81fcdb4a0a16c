"""`benchmarks/scripts/landmark_errors.py`, which is no package."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.tiny_training import write_poses

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "landmark_errors.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("landmark_errors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_of_landmarks_that_are_wrong_in_a_known_way(script: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 21, 3, generator=generator)
    keypoints = torch.rand(30, 21, 2, generator=generator) - 0.5
    # In the crop, four hundredths of its height to the right; in space, depths halved and turned.
    moved = keypoints + torch.tensor([2 * 0.04 * 256 / 192, 0])
    weight = torch.ones(30, 21, 1)
    weight[20:] = 0.4
    said = points * torch.tensor([1, 1, -0.5])
    table = script.rows("wrong", torch.cat([moved, said, weight], 2), points, keypoints)
    assert [row[2] for row in table] == ["0%", "100%", "0%", "0%"]
    assert table[1][7] == "100%"
    assert torch.allclose(
        script.off_in_crop(torch.cat([moved, said, weight], 2), keypoints), torch.tensor(4.0)
    )


def test_table_is_printed(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "_AT_ONCE", 6)
    poses = write_poses(tmp_path / "poses.npz")
    assert script.main(["--poses", str(poses), "--count", "12"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("of rendered people") == printed.count("simulated") == 4
