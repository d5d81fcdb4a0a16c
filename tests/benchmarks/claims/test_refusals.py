"""What `dualhmr reproduce` refuses before it does any work."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reproducing_examples import TEST, reproduce_command, tiny_setting, write_poses

from dualhmr_benchmarks.claims.experiments.recipes import BUDGETS
from dualhmr_benchmarks.claims.experiments.setting import Setting, pose_files
from dualhmr_training.data.synthetic.poses import read_poses


def test_what_cannot_work_is_refused_first(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    setting.check()
    shared = write_poses(tmp_path / "shared.npz", {**TEST, "climb": 2})
    with pytest.raises(ValueError, match=r"2 clips are in both .* such as 'climb_00'; test on"):
        replace(setting, test_poses=shared).check()
    for name in ("poses", "test_poses"):
        with pytest.raises(FileNotFoundError, match=r"no pose file at .*nowhere\.npz"):
            replace(setting, **{name: tmp_path / "nowhere.npz"}).check()
    with pytest.raises(ValueError, match="there are no seeds; give --seeds 1 or more"):
        replace(setting, seeds=()).check()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--seeds=0", "--seeds is 0, expected 1 or more"),
        ("--jobs=0", "--jobs is 0, expected 1 or more"),
        ("--jobs=-2", "--jobs is -2, expected 1 or more"),
    ],
)
def test_options_out_of_range(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_setting(tmp_path)
    assert reproduce_command(tmp_path, "table1", option) == 1
    assert capsys.readouterr().err == f"dualhmr: {message}\n"
    assert not (tmp_path / "out").exists()


def test_pose_files_that_share_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = tiny_setting(tmp_path)
    setting.test_poses.write_bytes(setting.poses.read_bytes())
    assert reproduce_command(tmp_path, "table1") == 1
    assert capsys.readouterr().err.startswith("dualhmr: 11 clips are in both ")
    assert not setting.cache.exists()


def test_without_files_the_pose_prior_is_sampled_once(tmp_path: Path) -> None:
    poses, test_poses = pose_files(None, None, tmp_path)
    written = poses.stat().st_mtime_ns
    assert pose_files(None, None, tmp_path) == (poses, test_poses)
    assert poses.stat().st_mtime_ns == written
    Setting(BUDGETS["tiny"], poses, test_poses, cache=tmp_path).check()


def test_folders_of_poses_become_files(tmp_path: Path) -> None:
    (tmp_path / "motions").mkdir()
    file = write_poses(tmp_path / "motions" / "a.npz", TEST)
    poses, test_poses = pose_files(tmp_path / "motions", file, tmp_path / "cache")
    assert test_poses == file
    assert read_poses(poses).clips == read_poses(file).clips


def test_one_of_two_pose_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give both --poses and --test-poses, or neither"):
        pose_files(tmp_path, None, tmp_path)
