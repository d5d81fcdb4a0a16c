"""What is installed by `pip install dualhmr` alone: neither torch nor numba is in it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_adaptation_graphs import add_to_bundle
from helpers.small_bundle import write_small_bundle
from numpy.typing import NDArray

from dualhmr import Recoverer
from dualhmr.example import example
from dualhmr.keypoints import Keypoints

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n"
BLOCKED = f"{WITHOUT_TORCH}sys.modules['numba'] = None\n"
COMMAND = BLOCKED + "from dualhmr.cli import main; sys.exit(main(sys.argv[1:]))"


def without_torch(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_to_bundle(write_small_bundle(tmp_path_factory.mktemp("bundles") / "small"))


def assert_the_same(
    saved: Path, reference: Recoverer, *, vertices_m: float, keypoints_px: float
) -> None:
    expected = reference.recover(example()[0])
    with np.load(saved, allow_pickle=False) as found:
        np.testing.assert_allclose(found["vertices"], expected.vertices, atol=vertices_m)
        np.testing.assert_allclose(
            found["keypoints_2d"], expected.keypoints_2d, atol=keypoints_px, equal_nan=True
        )
        np.testing.assert_allclose(found["loss_history"][0], expected.loss_history[0], rtol=1e-3)
        np.testing.assert_array_equal(found["best_step"], expected.best_step)


def test_the_command_recovers_and_writes_everything(bundle: Path, tmp_path: Path) -> None:
    done = without_torch(COMMAND, "recover", "--example", "--bundle", bundle, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "adaptation: onnx" in done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"recovery.npz", "overlay.png", "steps.png", "mesh.glb", "result.html"}
    reference = Recoverer(bundle, adaptation="onnx")
    assert_the_same(tmp_path / "recovery.npz", reference, vertices_m=1e-6, keypoints_px=1e-4)


def test_the_default_networks_recover_what_they_do_with_torch(tmp_path: Path) -> None:
    done = without_torch(COMMAND, "recover", "--example", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["adaptation"].startswith("onnxruntime")
    reference = Recoverer(adaptation="torch")
    assert_the_same(tmp_path / "recovery.npz", reference, vertices_m=1e-4, keypoints_px=0.05)


@pytest.mark.parametrize("max_steps", [0, 1, 30])
def test_the_default_graph_goes_the_way_that_torch_goes(
    photo: NDArray[np.uint8], keypoints: Keypoints, max_steps: int
) -> None:
    ours, reference = (
        Recoverer(adaptation=adaptation).recover(photo, keypoints, max_steps=max_steps)
        for adaptation in ("onnx", "torch")
    )
    assert ours.steps.tolist() == reference.steps.tolist()
    assert ours.stop_reason == reference.stop_reason
    assert ours.loss_history[0] == pytest.approx(reference.loss_history[0], rel=1e-3)
    np.testing.assert_allclose(ours.step_vertices(), reference.step_vertices(), atol=1e-4)


def test_compiled_loops_follow_any_schedule_for_all_persons(bundle: Path) -> None:
    program = f"""{WITHOUT_TORCH}
import dualhmr
from dualhmr.example import example
from dualhmr.keypoints import Keypoints

photo, one = example()
crowd = Keypoints(one.set, one.xy.repeat(3, 0), one.confidence.repeat(3, 0))
recoverer = dualhmr.Recoverer({str(bundle)!r})
for schedule in ("trained", "eft"):
    found = recoverer.recover(photo, crowd, schedule=schedule)
    alone = recoverer.recover(photo, one, schedule=schedule)
    assert len(found) == 3
    assert (found.vertices == alone.vertices).all()
print(recoverer.adaptation, found.adaptation.split()[0])
"""
    done = without_torch(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "numba numba\n"


def test_from_python(bundle: Path) -> None:
    program = f"""{BLOCKED}
import dualhmr
from dualhmr.example import example

photo, keypoints = example()
recoverer = dualhmr.Recoverer({str(bundle)!r}, options=dualhmr.EngineOptions(threads=1))
recovery = recoverer.recover(photo, keypoints)
recovery.overlay(photo), recovery.step_strip(photo)
print(recoverer.backend, recoverer.adaptation)
for name in ("load_body", "Body"):
    try:
        getattr(dualhmr, name)
    except ImportError as error:
        print(error)
"""
    done = without_torch(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "onnxruntime onnx",
        'dualhmr.load_body needs PyTorch: pip install "dualhmr[torch]"',
        'dualhmr.Body needs PyTorch: pip install "dualhmr[torch]"',
    ]


def test_a_body_of_ones_own(bundle: Path) -> None:
    own = Recoverer(bundle).body
    assert Recoverer(bundle, body=own).body is own
    with pytest.raises(ValueError, match="betas mean nothing on body 'mine'"):
        Recoverer(bundle, body=dataclasses.replace(own, name="mine"))


def test_commands_that_need_torch_say_so() -> None:
    assert "--example" in without_torch(COMMAND, "recover", "--help").stdout
    assert without_torch(COMMAND, "info").returncode == 0
    done = without_torch(COMMAND, "train", "demo", "--steps", "3")
    assert done.returncode == 1
    assert done.stderr == 'dualhmr: dualhmr train needs PyTorch: pip install "dualhmr[torch]"\n'
    done = without_torch(COMMAND, "verify")
    assert done.returncode == 1
    assert done.stderr == 'dualhmr: this needs PyTorch: pip install "dualhmr[torch]"\n'
