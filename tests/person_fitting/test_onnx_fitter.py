import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.fake_adaptation_graphs import BETA_SCALES, DEPTHS_M, LOSSES, OFFSETS_PX, add_to_bundle
from helpers.onnx_bundles import edit_graph, replace_output
from helpers.small_bundle import write_small_bundle
from numpy.typing import NDArray
from onnx import numpy_helper

from dualhmr import Recoverer, Recovery, open_bundle
from dualhmr.adaptation.schedule import named_schedule
from dualhmr.bundle import ADAPTATION_GRAPH
from dualhmr.example import example
from dualhmr.keypoints import BODY_25, Keypoints, KeypointSet
from dualhmr.plausibility import SkippedPerson

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "small"))


def recover(folder: Path, keypoints: Keypoints | None = None, **options: object) -> Recovery:
    photo, known = example()
    recoverer = Recoverer(folder, adaptation="onnx")
    return recoverer.recover(photo, keypoints or known, **options)  # type: ignore[arg-type]


def test_the_best_iterate_is_returned_and_the_way_there(folder: Path) -> None:
    recovery = recover(add_to_bundle(folder, stop=1))
    confidence = float(example()[1].confidence.sum())
    assert recovery.loss_history[0] == pytest.approx([loss * confidence for loss in LOSSES])
    assert recovery.steps.tolist() == [2]
    assert recovery.best_step.tolist() == [1]
    assert recovery.stop_reason == ("converged",)
    assert recovery.translation[0, 2] == DEPTHS_M[1]
    trace = recovery.traces[0]
    np.testing.assert_allclose(recovery.betas[0], trace.betas[0] * BETA_SCALES[1])
    assert trace.translation[:, 2].tolist() == list(DEPTHS_M)
    np.testing.assert_allclose(recovery.reprojection_px, [OFFSETS_PX[:2]], rtol=1e-4)
    assert recovery.step_vertices().shape == (2, len(recovery.vertices[0]), 3)
    assert recovery.adaptation.startswith("onnxruntime")


@pytest.mark.parametrize(("stop", "reason"), [*enumerate(["max_steps", "converged", "non_finite"])])
def test_why_it_stopped(folder: Path, stop: int, reason: str) -> None:
    assert recover(add_to_bundle(folder, stop=stop)).stop_reason == (reason,)


@pytest.mark.parametrize("steps", [0, 1, 14])
def test_no_more_steps_than_asked_for(folder: Path, steps: int) -> None:
    recovery = recover(add_to_bundle(folder), max_steps=steps)
    assert recovery.steps.tolist() == [min(steps, 2)]
    assert len(recovery.traces[0].betas) == len(recovery.loss_history[0])


def test_keypoints_are_matched_by_name(folder: Path) -> None:
    given = example()[1]
    mixed = KeypointSet("mixed", ("left_hand_20", *reversed(given.set.names)))
    xy = np.concatenate([np.full((1, 1, 2), 7, np.float32), given.xy[:, ::-1]], axis=1)
    confidence = np.concatenate([np.ones((1, 1), np.float32), given.confidence[:, ::-1]], axis=1)
    named, renamed = (
        recover(add_to_bundle(folder, names=("wart", *BODY_25.names[::-1])), keypoints)
        for keypoints in (given, Keypoints(mixed, xy, confidence))
    )
    # The graph knows no finger: its confidence does not count, and it is put nowhere.
    assert renamed.loss_history == named.loss_history
    assert np.isnan(renamed.keypoints_2d[0, 0]).all()
    seen = given.confidence[0] > 0
    moved = named.keypoints_2d[0, seen] - given.xy[0, seen]
    np.testing.assert_allclose(moved, np.tile([OFFSETS_PX[1], 0], (len(moved), 1)), atol=1e-2)
    np.testing.assert_allclose(renamed.reprojection_px, named.reprojection_px, atol=1e-3)


def test_persons_are_skipped_as_ever(folder: Path) -> None:
    given = example()[1]
    crowd = Keypoints(given.set, given.xy.repeat(3, 0), given.confidence.repeat(3, 0))
    crowd.confidence[1] = 0
    recovery = recover(add_to_bundle(folder), crowd)
    assert recovery.persons.tolist() == [0, 2]
    assert [skipped.person for skipped in recovery.skipped] == [1]
    np.testing.assert_array_equal(recovery[0].vertices, recovery[1].vertices)


def test_a_loss_that_is_not_finite_at_the_start(folder: Path) -> None:
    recovery = recover(add_to_bundle(folder, losses=(np.nan, 1, 2)))
    assert len(recovery) == 0
    reason = "the loss or its gradient is nan before the first step"
    assert recovery.skipped == (SkippedPerson(0, reason),)


def test_other_schedules(folder: Path) -> None:
    add_to_bundle(folder)
    message = r"by the schedule 'paper' that it .* not by 'eft'; export .* \"dualhmr\[fast\]\""
    with pytest.raises(ValueError, match=message):
        recover(folder, schedule="eft")
    with pytest.raises(ValueError, match="not at other rates"):
        recover(folder, schedule=named_schedule("paper", adam_rate=1.0))
    manifest = open_bundle(folder).manifest
    own = manifest.schedule.schedule("paper", weights=manifest.weights)
    assert recover(folder, schedule=own).steps.tolist() == [2]
    assert recover(folder, schedule="paper").steps.tolist() == [2]


def test_a_bundle_without_the_graph(original: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"comes without adaptation\.onnx, .*\[fast\]"):
        Recoverer(original, adaptation="onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metadata": {}}, "it lacks schedule, keypoints; export the bundle again"),
        ({"lacking": "step_betas"}, "it lacks step_betas"),
    ],
)
def test_graphs_that_are_none_of_an_adaptation(
    folder: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Recoverer(add_to_bundle(folder, **options), adaptation="onnx")


def test_a_graph_that_reads_what_nobody_knows(folder: Path) -> None:
    with pytest.raises(ValueError, match="reads humidity, which this dualhmr does not know"):
        recover(add_to_bundle(folder, reading="humidity"))


def test_choosing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_to_bundle(folder)
    assert Recoverer(folder).adaptation == "numba"
    with pytest.raises(ValueError, match="'jax'; known are auto, numba, torch, onnx"):
        Recoverer(folder, adaptation="jax")
    for adaptation in ("onnx", "numba"):
        with pytest.raises(ValueError, match=f"adaptation '{adaptation}' the head alone"):
            Recoverer(folder, adaptation=adaptation, scope="all")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert Recoverer(folder).adaptation == "torch"
    with pytest.raises(ImportError, match=r'needs numba: pip install "dualhmr\[fast\]"'):
        Recoverer(folder, adaptation="numba")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert Recoverer(folder).adaptation == "onnx"
    for options in ({"adaptation": "torch"}, {"scope": "all"}, {"backend": "torch"}):
        with pytest.raises(ImportError, match=r'needs PyTorch: pip install "dualhmr\[torch\]"'):
            Recoverer(folder, **options)


def scaled(name: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.float32([factor]), "factor"))
        nodes = [onnx.helper.make_node("Mul", [f"{name}_before", "factor"], [name])]
        replace_output(model, name, nodes)

    return change


def constant(name: str, array: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    """A constant of a shape that ONNX Runtime does not know when it opens the file."""

    def change(model: onnx.ModelProto) -> None:
        numbers = numpy_helper.from_array(array.reshape(-1), "new")
        shape = numpy_helper.from_array(np.array(array.shape, np.int64), "new_shape")
        model.graph.initializer.extend([numbers, shape])
        make = onnx.helper.make_node
        # `zero` hides the shape: it is computed from the input.
        nodes = [
            make("ReduceSum", ["max_steps"], ["steps_sum"], keepdims=0),
            make("Sub", ["steps_sum", "steps_sum"], ["nought"]),
            make("Add", ["new_shape", "nought"], ["hidden_shape"]),
            make("Reshape", ["new", "hidden_shape"], [name]),
        ]
        replace_output(model, name, nodes)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (constant("losses", np.zeros(0, np.float32)), "gives 0 losses for at most 14 steps"),
        (constant("losses", np.zeros(100, np.float32)), "gives 100 losses for at most 14 steps"),
        (constant("losses", np.float32([1, np.nan, 1])), "gives losses that are not finite"),
        (
            constant("losses", np.float32([1, 2])),
            r"gives step_rotations of shape \(3, 24, 3, 3\), expected \(2, 24, 3, 3\)",
        ),
        (
            constant("step_betas", np.zeros((3, 4), np.float32)),
            r"gives step_betas of shape \(3, 4\)",
        ),
        (scaled("step_translation", np.nan), "gives step_translation that are not finite"),
        (scaled("step_rotations", np.inf), "gives step_rotations that are not finite"),
        (scaled("step_keypoints", np.inf), "gives step_keypoints that are not finite"),
        (scaled("camera_focal_length", -1), "gives a focal length that is not positive"),
    ],
)
def test_outputs_that_contradict_each_other(
    folder: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    add_to_bundle(folder)
    with pytest.raises(ValueError, match=message) as caught:
        recover(edit_graph(folder, ADAPTATION_GRAPH, change))
    assert str(folder / ADAPTATION_GRAPH) in str(caught.value)


@pytest.mark.parametrize("stop", [-1, 3, 7, 2**62])
def test_reasons_to_stop_that_do_not_exist(folder: Path, stop: int) -> None:
    with pytest.raises(ValueError, match=f"stops for the reason {stop}, which does not exist"):
        recover(add_to_bundle(folder, stop=stop))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"schedule": "", "keypoints": "nose"}, "unknown schedule ''; known are paper, trained"),
        ({"schedule": "nope", "keypoints": "nose"}, "unknown schedule 'nope'"),
        ({"schedule": "paper", "keypoints": ""}, "its keypoints are '', expected names"),
        ({"schedule": "paper", "keypoints": "nose,"}, "expected names"),
        ({"schedule": "paper", "keypoints": "nose,nose"}, "needs names, each of them once"),
        ({"schedule": "paper", "keypoints": ",".join(map(str, range(2000)))}, "expected names"),
    ],
)
def test_metadata_that_no_graph_has(folder: Path, metadata: dict[str, str], message: str) -> None:
    add_to_bundle(folder, metadata=metadata)
    with pytest.raises(ValueError, match=message) as caught:
        Recoverer(folder, adaptation="onnx")
    assert str(folder / ADAPTATION_GRAPH) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_descriptions_of_other_shapes(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (betas,) = [each for each in model.graph.input if each.name == "betas"]
        betas.type.tensor_type.shape.dim[1].dim_value = 300

    add_to_bundle(folder)
    with pytest.raises(ValueError, match=r"betas is a tensor\(float\) of shape \[1, 300\], expec"):
        Recoverer(edit_graph(folder, ADAPTATION_GRAPH, change), adaptation="onnx")


def test_a_graph_that_cannot_run(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        wrong = numpy_helper.from_array(np.zeros((7, 7), np.float32), "wrong")
        model.graph.initializer.append(wrong)
        nodes = [
            onnx.helper.make_node("Concat", ["losses_before", "losses_before"], ["x"], axis=0),
            onnx.helper.make_node("MatMul", ["x", "wrong"], ["losses"]),
        ]
        replace_output(model, "losses", nodes)

    add_to_bundle(folder)
    with pytest.raises(RuntimeError, match=r"adaptation\.onnx: ONNX Runtime cannot run it"):
        recover(edit_graph(folder, ADAPTATION_GRAPH, change))
