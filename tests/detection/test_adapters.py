"""Other libraries' detectors and users' own: what they return, and what is wrong with it."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.standing_person import standing_person

from dualhmr.detection import Detections, NamedDetector, open_detector
from dualhmr.keypoints import COCO_17, COCO_WHOLEBODY_133, HALPE_26, KeypointSet

IMAGE = np.zeros((500, 600, 3), np.uint8)
IMAGE[..., 0] = 200  # red
GOOD = 0.8


def arrays(
    names: KeypointSet = COCO_17, persons: int = 2, score: float = GOOD
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What rtmlib returns: float64."""
    points = [standing_person(names, middle=(200 + 150 * p, 250)) for p in range(persons)]
    keypoints = np.array(points, np.float64).reshape(persons, len(names), 2)
    return keypoints, np.full((persons, len(names)), score)


def detect(detector: Any, **options: Any) -> Detections:
    return open_detector(detector, **options)(IMAGE)


@pytest.mark.parametrize("names", [COCO_17, HALPE_26, COCO_WHOLEBODY_133])
@pytest.mark.parametrize("persons", [0, 1, 2])
def test_pairs_of_arrays(names: KeypointSet, persons: int) -> None:
    keypoints, scores = arrays(names, persons)
    found = detect(lambda _image: (keypoints, scores))
    assert found.keypoint_set == names
    assert len(found) == persons
    np.testing.assert_allclose(found.keypoints, keypoints, atol=1e-4)
    np.testing.assert_allclose(found.person_scores, [GOOD] * persons, atol=1e-6)
    assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()


def test_a_set_of_ones_own() -> None:
    names = KeypointSet("mine", COCO_17.names[5:])
    found = detect(lambda _image: arrays(names), keypoint_set=names)
    assert found.keypoint_set == names
    with pytest.raises(ValueError, match="12 keypoints a person, but coco_17 has 17"):
        detect(lambda _image: arrays(names), keypoint_set=COCO_17)


def test_persons_with_low_scores_are_left_out() -> None:
    keypoints, scores = arrays()
    scores[1] = 0.1  # RTMPose poses the whole image where there is nobody
    found = detect(lambda _image: (keypoints, scores))
    np.testing.assert_allclose(found.keypoints, keypoints[:1], atol=1e-4)
    assert len(detect(lambda _image: (keypoints, scores), min_score=0.05)) == 2


def nan() -> Any:
    keypoints, scores = arrays()
    keypoints[1, 4, 0] = np.nan
    return keypoints, scores


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "it returned None"),
        (arrays()[0], "expected Detections or a pair"),
        ((arrays()[0], arrays()[1][:1]), r"keypoints of shape \(2, 17, 2\) and scores of shape"),
        ((arrays()[0][0], arrays()[1][0]), r"keypoints of shape \(17, 2\)"),
        ((np.zeros((1, 18, 2)), np.ones((1, 18))), "no known keypoint set has 18"),
        (nan(), "not finite"),
        ((arrays()[0], 100 * arrays()[1]), "confidences reach"),
        ((arrays()[0].astype(str), arrays()[1]), "expected numbers"),
        (([[[1, 2]], [[1, 2], [3, 4]]], arrays()[1]), "not one array"),
    ],
)
def test_what_is_wrong_names_the_detector(result: Any, message: str) -> None:
    def my_detector(_image: object) -> Any:
        return result

    with pytest.raises((ValueError, TypeError), match=message) as caught:
        detect(my_detector)
    assert "my_detector" in str(caught.value)


def test_one_that_raises_is_named() -> None:
    def broken(_image: object) -> Any:
        raise KeyError("weights")

    with pytest.raises(RuntimeError, match=r"broken failed: .*weights"):
        detect(broken)


@pytest.mark.parametrize("name", ["rtmlib", "rtmlib:hand", "ultralytics:", "yolo", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="unknown detector"):
        open_detector(name)
    with pytest.raises(TypeError, match="expected a callable"):
        open_detector(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rtmlib:body", "ultralytics:yolo11n-pose.pt"])
def test_a_missing_library_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = name.partition(":")[0]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'pip install "dualhmr\[{library}\]"'):
        open_detector(name)


def library(monkeypatch: pytest.MonkeyPatch, name: str, **classes: type) -> None:
    """A stand-in: its classes' modules are named as the real ones."""
    module = ModuleType(name)
    for each, kind in classes.items():
        kind.__module__ = f"{name}.solution"
        setattr(module, each, kind)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("rtmlib:body", "Body", COCO_17),
        ("rtmlib:body_with_feet", "BodyWithFeet", HALPE_26),
        ("rtmlib:wholebody", "Wholebody", COCO_WHOLEBODY_133),
    ],
)
def test_rtmlib_sees_bgr(
    name: str, kind: str, names: KeypointSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Solution:
        def __call__(self, image: npt.NDArray[np.uint8]) -> Any:
            assert image.flags.c_contiguous
            assert image[0, 0].tolist() == [0, 0, 200]
            return arrays(names)

    library(monkeypatch, "rtmlib", **{kind: Solution})
    by_name = open_detector(name)
    assert isinstance(by_name, NamedDetector)
    assert by_name.name == name
    assert by_name(IMAGE).keypoint_set == names
    assert len(detect(Solution())) == 2


def test_the_real_rtmlib_has_these_classes() -> None:
    rtmlib = pytest.importorskip("rtmlib")
    for name in ("Body", "BodyWithFeet", "Wholebody"):
        assert callable(getattr(rtmlib, name))


def yolo(data: Any, boxes: Any) -> Any:
    """A stand-in of a model that returns what `Results` of Ultralytics gives."""

    class Results:
        def __init__(self) -> None:
            self.keypoints = None if data is None else SimpleNamespace(data=data)
            self.boxes = SimpleNamespace(xyxy=boxes[:, :4], conf=boxes[:, 4])

        def cpu(self) -> Any:
            return self

        def numpy(self) -> Any:
            return self

    Results.__module__ = "ultralytics.engine.results"

    class Model:
        def __call__(self, image: npt.NDArray[np.uint8], *, verbose: bool) -> Any:
            assert not verbose
            assert image[0, 0].tolist() == [0, 0, 200]
            return [Results()]

    Model.__module__ = "ultralytics.models.yolo.model"
    return Model()


def yolo_rows(persons: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    keypoints, scores = arrays(persons=persons)
    data = np.concatenate([keypoints, scores[..., None]], -1).astype(np.float32)
    boxes = np.tile(np.float32([10, 20, 110, 320, 0.9]), (persons, 1))
    return data, boxes


@pytest.mark.parametrize("persons", [0, 2])
def test_ultralytics(persons: int) -> None:
    data, boxes = yolo_rows(persons)
    if persons:
        data[0, 3, :2] = 0  # it was not found
    found = detect(yolo(data, boxes))
    assert len(found) == persons
    np.testing.assert_array_equal(found.boxes, boxes[:, :4])
    np.testing.assert_array_equal(found.person_scores, boxes[:, 4])
    if persons:
        assert found.scores[0, 3] == 0
        assert found.to_keypoints().confidence[0, 3] == 0


def test_ultralytics_without_keypoints() -> None:
    with pytest.raises(ValueError, match="use a model for poses"):
        detect(yolo(None, yolo_rows(1)[1]))


@pytest.mark.parametrize("persons", [0, 2])
def test_the_real_results_of_ultralytics(persons: int) -> None:
    pytest.importorskip("ultralytics")
    results = importlib.import_module("ultralytics.engine.results")
    torch = importlib.import_module("torch")
    data, boxes = yolo_rows(persons)
    rows = torch.tensor(np.concatenate([boxes, np.zeros((persons, 1), np.float32)], 1))
    real = results.Results(
        IMAGE, path="a.jpg", names={0: "person"}, boxes=rows, keypoints=torch.tensor(data)
    )
    found = detect(lambda _image: [real])
    np.testing.assert_allclose(found.keypoints, data[..., :2], atol=1e-4)
    np.testing.assert_allclose(found.person_scores, boxes[:, 4])
