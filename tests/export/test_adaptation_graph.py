"""The graphs against `adapt`: every schedule, head, camera and way to end."""

import numpy as np
import onnx
import pytest
import torch
from helpers.adaptation_graph_cases import AdaptingGraph, Case, Person

from dualhmr.adaptation.adapt import Adaptation
from dualhmr.adaptation.schedule import STOP_REASONS, NonFiniteError
from dualhmr.body.model import pose_skeleton
from dualhmr.camera import CAMERAS
from dualhmr.keypoints import BODY_25, COCO_17, HALPE_26
from dualhmr.networks import HeadOutput
from dualhmr.objective.weights import LossWeights

ALL = LossWeights(vertices=0.5)
CASES = (
    Case("paper", iterations=3, reads_box_info=True, camera="cliff"),
    Case("trained", iterations=1, reads_box_info=False, camera="hmr", rate=1.5e-3),
    Case(
        "release",
        iterations=2,
        reads_box_info=False,
        camera="cliff",
        weights=ALL,
        tolerance=0.01,
    ),
    Case("eft", iterations=1, reads_box_info=True, camera="hmr", tolerance=0.03, hidden=0),
)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.schedule)
def graph(request: pytest.FixtureRequest) -> AdaptingGraph:
    return AdaptingGraph(request.param)


def stacked(adaptation: Adaptation) -> HeadOutput:
    outputs = [output for output in adaptation.outputs if isinstance(output, HeadOutput)]
    return HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))


def check(graph: AdaptingGraph, person: Person, max_steps: int) -> str:
    """Holds the graph with loops and that of a step to `adapt`; why all stopped."""
    expected = person.adapt(graph.case, graph.problem, max_steps)
    for run in (graph.run, graph.run_steps):
        compare(run(person.inputs(graph.problem), max_steps), expected, graph, person)
    return expected.stop_reason


def compare(
    found: dict[str, np.ndarray], expected: Adaptation, graph: AdaptingGraph, person: Person
) -> None:
    assert STOP_REASONS[int(found["stop"])] == expected.stop_reason
    assert len(found["losses"]) == expected.steps + 1
    np.testing.assert_allclose(found["losses"], expected.loss_history, rtol=2e-4)
    iterates = stacked(expected)
    rotations = iterates.rotations
    camera = CAMERAS[graph.case.camera](iterates.camera, person.view)
    np.testing.assert_allclose(found["step_rotations"], rotations, atol=1e-4)
    np.testing.assert_allclose(found["step_betas"], iterates.betas, atol=1e-4)
    np.testing.assert_allclose(found["step_translation"], camera.translation, rtol=1e-4, atol=1e-4)
    rows = len(rotations)
    focal_length, principal_point = found["camera_focal_length"], found["camera_principal_point"]
    np.testing.assert_allclose(focal_length, camera.focal_length.expand(rows))
    np.testing.assert_allclose(principal_point, camera.principal_point.expand(rows, 2))


@pytest.mark.parametrize("max_steps", [0, 1, 5, 14])
def test_goes_as_adapt_goes(graph: AdaptingGraph, max_steps: int) -> None:
    reasons = {
        check(graph, Person.of(seed, names), max_steps)
        for seed, names in enumerate((COCO_17, BODY_25, HALPE_26))
    }
    if max_steps == 14 or not graph.case.tolerance:
        assert ("converged" in reasons) == (graph.case.tolerance > 0)


def test_goes_on_beyond_the_schedule(graph: AdaptingGraph) -> None:
    check(graph, Person.of(7), 40)


def test_keypoints_are_where_the_camera_sees_them(graph: AdaptingGraph) -> None:
    problem, person = graph.problem, Person.of(3)
    found = {
        name: torch.from_numpy(array)
        for name, array in graph.run(person.inputs(problem), 4).items()
    }
    body = problem.objective.body
    assert "face_30" not in problem.keypoints
    pose = pose_skeleton(body, found["step_rotations"], found["step_betas"])
    assert problem.objective.available.all()
    points = problem.objective.points(pose)[0]
    for row in range(len(found["losses"])):
        translation = found["step_translation"][row]
        focal_length = found["camera_focal_length"][row]
        placed = points[row] + translation
        expected = placed[:, :2] / placed[:, 2:] * focal_length
        expected = expected + found["camera_principal_point"][row]
        torch.testing.assert_close(found["step_keypoints"][row], expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_at_the_start(graph: AdaptingGraph, value: float) -> None:
    inputs = Person.of(1).inputs(graph.problem)
    inputs["features"][0, 3] = value
    for max_steps in (0, 5):
        found = graph.run(inputs, max_steps)
        assert STOP_REASONS[int(found["stop"])] == "non_finite"
        assert np.isnan(found["losses"]).tolist() == [True]
        assert len(found["step_rotations"]) == 1
        with pytest.raises(NonFiniteError, match="before the first step"):
            graph.run_steps(inputs, max_steps)
    assert check(graph, Person.of(1), 3) != "non_finite"


@pytest.mark.parametrize("graph", CASES[1:2], indirect=True, ids=lambda case: case.schedule)
def test_what_is_not_finite_later_is_not_kept(graph: AdaptingGraph) -> None:
    graph, person = graph.at_rate(1e18), Person.of(2)
    found = graph.run(person.inputs(graph.problem), 14)
    assert STOP_REASONS[int(found["stop"])] == "non_finite"
    assert 1 < len(found["losses"]) < 14
    assert np.isfinite(found["losses"]).all()
    expected = person.adapt(graph.case, graph.problem, 14)
    by_steps = graph.run_steps(person.inputs(graph.problem), 14)
    assert by_steps["stop"] == found["stop"]
    assert len(found["losses"]) == len(by_steps["losses"]) == expected.steps + 1


def test_people_do_not_leave_traces(graph: AdaptingGraph) -> None:
    inputs = Person.of(4).inputs(graph.problem)
    for run in (graph.run, graph.run_steps):
        before = run(inputs, 6)
        run(Person.of(5).inputs(graph.problem), 7)
        for name, array in run(inputs, 6).items():
            np.testing.assert_array_equal(array, before[name])


def test_steps_swap_two_sets_of_buffers(graph: AdaptingGraph) -> None:
    """Nothing is bound anew once captured, and moments are zero when a phase begins."""
    graph.run_steps(Person.of(1).inputs(graph.problem), 20)
    assert all(len(engine.contexts) <= 2 for engine in graph.engines)
    first, second = (context.addresses for context in graph.engines[-1].contexts)
    state = [name.removeprefix("before.") for name in first if name.startswith("before.")]
    assert len(state) >= 3
    for name in state:
        assert first[f"before.{name}"] == second[f"after.{name}"]
        assert second[f"before.{name}"] == first[f"after.{name}"]


def test_steps_that_do_not_fit(graph: AdaptingGraph) -> None:
    inputs = Person.of(1).inputs(graph.problem)
    with pytest.raises(ValueError, match=r"input keypoints has the shape \(1, 3, 2\), expected"):
        graph.run_steps(inputs | {"keypoints": inputs["keypoints"][:, :3]}, 2)
    del inputs["confidence"]
    with pytest.raises(ValueError, match="reads confidence, which this dualhmr does not know"):
        graph.run_steps(inputs, 2)


def test_what_the_graph_is_given(graph: AdaptingGraph) -> None:
    names = {each.name for each in graph.model.graph.input}
    assert ("box_info" in names) == graph.case.reads_box_info
    assert ("rotations" in names) == ("betas" in names) == (graph.case.schedule != "eft")
    assert {opset.version for opset in graph.model.opset_import} == {18}
    onnx.checker.check_model(graph.model, full_check=True)


def test_constants_are_there_once(graph: AdaptingGraph) -> None:
    constants = [(*each.dims, each.raw_data) for each in graph.model.graph.initializer]
    assert len(set(constants)) == len(constants)
    bodies = [each.attribute[0].g for each in graph.model.graph.node if each.op_type == "Loop"]
    assert len(bodies) == len(graph.problem.schedule.phases)
    assert not any(body.initializer for body in bodies)
