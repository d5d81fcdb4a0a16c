from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from dualhmr import Motion, Recoverer, Recovery, recovered_people, rendering
from dualhmr.keypoints import Keypoints
from dualhmr.outputs import OUTPUTS, write_outputs
from dualhmr.recovery import OVERLAY_COLORS
from dualhmr.rendering import meshes
from dualhmr.rendering.distance_colours import distance_scale

SAVED = (
    "vertices",
    "joints",
    "keypoints_2d",
    "global_orient",
    "body_pose",
    "betas",
    "translation",
    "uncertainty",
    "pseudo_rotations",
    "pseudo_betas",
    "focal_length",
    "principal_point",
    "faces",
    "steps",
)


@pytest.fixture(scope="module")
def recovery(recoverer: Recoverer, photo: NDArray[np.uint8], keypoints: Keypoints) -> Recovery:
    xy = np.concatenate([keypoints.xy, keypoints.xy + np.float32([200, 0])])
    pair = Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, 2, axis=0))
    return recoverer.recover(photo, pair, max_steps=4)


def test_indexing_keeps_the_person_axis(recovery: Recovery) -> None:
    second = recovery[1]
    assert len(second) == 1
    np.testing.assert_array_equal(second.vertices, recovery.vertices[1:])
    np.testing.assert_array_equal(second.keypoints.xy, recovery.keypoints.xy[1:])
    assert second.loss_history == recovery.loss_history[1:]
    assert second.stop_reason == recovery.stop_reason[1:]
    np.testing.assert_array_equal(recovery[-1].vertices, second.vertices)
    assert [person.persons.tolist() for person in recovery] == [[0], [1]]
    with pytest.raises(IndexError):
        recovery[2]


def test_a_person_is_a_motion_of_one_frame(recovery: Recovery, tmp_path: Path) -> None:
    motion = recovery.motion(1)
    np.testing.assert_allclose(motion.joints, recovery.joints[1:], atol=2e-6)
    np.testing.assert_allclose(motion.vertices(), recovery.vertices[1:], atol=2e-6)
    assert len(Motion.of(list(recovery))) == 2
    with pytest.raises(ValueError, match=r"of 2 persons: say which"):
        recovery.save(tmp_path / "both.bvh")
    recovery[0].save(tmp_path / "one.bvh")
    assert [path.name for path in tmp_path.iterdir()] == ["one.bvh"]


def test_npz_holds_everything_without_pickle(recovery: Recovery, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    recovery.save(path)
    with np.load(path, allow_pickle=False) as saved:
        for name in SAVED:
            np.testing.assert_array_equal(saved[name], getattr(recovery, name))
        assert saved["stop_reason"].tolist() == list(recovery.stop_reason)
        assert saved["loss_history"][0, : len(recovery.loss_history[0])] == pytest.approx(
            recovery.loss_history[0]
        )
        assert saved["keypoint_names"].tolist() == list(recovery.keypoints.set.names)
        # Nothing else: NumPy 1.26 stores its own options as arrays where it does not know them.
        others = {"persons", "best_step", "reprojection_px", "loss_history", "stop_reason"}
        others |= {"observed_keypoints", "body", "step_counts"}
        others |= {f"step_{name}" for name in ("rotations", "betas", "translation")}
        assert set(saved.files) == {*SAVED, *others, "keypoint_names"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_meshes_hold_both_persons(recovery: Recovery, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    recovery.save(path)
    mesh = trimesh.load(path, force="mesh")
    assert len(mesh.faces) == 2 * len(recovery.faces)


def test_unknown_suffix_and_missing_folder(recovery: Recovery, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.glb"):
        recovery.save(tmp_path / "bodies.fbx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        recovery.save(tmp_path / "nowhere" / "r.npz")
    assert list(tmp_path.iterdir()) == []


def test_step_vertices_lead_from_the_start_to_the_result(recovery: Recovery) -> None:
    steps = recovery.step_vertices(0)
    assert len(steps) == recovery.best_step[0] + 1
    np.testing.assert_allclose(steps[-1], recovery.vertices[0], atol=1e-5)
    assert np.abs(steps[0] - steps[-1]).max() > 1e-3


def test_pictures(recovery: Recovery, photo: NDArray[np.uint8]) -> None:
    overlay = recovery.overlay(photo)
    assert overlay.dtype == np.uint8
    assert overlay.shape[0] == 512
    assert overlay.shape[1] > 512
    changed = (overlay[:, :512] != photo).any(-1)
    assert 0.1 < changed.mean() < 0.9
    strip = recovery.step_strip(photo, 1)
    assert strip.shape[1] > strip.shape[0]


def test_the_strip_shows_uncertainty_of_each_step(
    recovery: Recovery, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, shown = (recovery.step_strip(photo, 1, color=each) for each in OVERLAY_COLORS)
    assert shown.shape[1] > usual.shape[1] + 0.9 * distance_scale(360).shape[1]
    asked: list[NDArray[np.float32]] = []
    monkeypatch.setattr(
        rendering, "step_strip", lambda *_, distances, **__: asked.append(distances) or photo
    )
    recovery.step_strip(photo, 1, color="uncertainty")
    np.testing.assert_allclose(asked[0][-1], recovery.vertex_uncertainty()[1], atol=1e-4)
    assert np.abs(asked[0][0] - asked[0][-1]).max() > 1e-3
    with pytest.raises(ValueError, match="unknown color"):
        recovery.step_strip(photo, color="red")


def test_the_overlay_shows_uncertainty(recovery: Recovery, photo: NDArray[np.uint8]) -> None:
    usual, shown = recovery.overlay(photo), recovery.overlay(photo, color="uncertainty")
    assert shown.shape[1] > usual.shape[1]  # by the scale
    body = (usual[:, :512] != photo).any(-1)
    np.testing.assert_array_equal((shown[:, :512] != photo).any(-1)[~body], False)
    assert (shown[:, :512] != usual[:, :512]).any(-1)[body].mean() > 0.9
    certain = replace(
        recovery,
        pseudo_rotations=np.concatenate(
            [recovery.global_orient[:, None], recovery.body_pose], axis=1
        ),
        pseudo_betas=recovery.betas,
        reprojection_px=np.zeros_like(recovery.reprojection_px),
    )
    assert certain.vertex_uncertainty() == pytest.approx(0, abs=2e-6)
    assert (certain.overlay(photo, color="uncertainty") != shown).any()
    with pytest.raises(ValueError, match=r"unknown color 'error'; known are person, uncertainty"):
        recovery.overlay(photo, color="error")


@pytest.mark.parametrize("name", ["body.GLB", "body.Npz", "body.OBJ"])
def test_suffixes_in_any_case(recovery: Recovery, name: str, tmp_path: Path) -> None:
    recovery.save(tmp_path / name)
    recovery.save(tmp_path / f"lower{Path(name).suffix.lower()}")
    first, second = sorted(tmp_path.iterdir())
    assert first.stat().st_size == second.stat().st_size > 1000


@pytest.mark.parametrize("chosen", [["npz"], ["glb", "npz"], ["overlay"], [], list(OUTPUTS)])
def test_only_the_chosen_outputs_are_made(
    recovery: Recovery,
    photo: NDArray[np.uint8],
    chosen: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    monkeypatch.setattr(Recovery, "overlay", lambda *_, **__: drawn.append("overlay") or photo)
    monkeypatch.setattr(Recovery, "step_strip", lambda *_, **__: drawn.append("steps") or photo)
    moving = rendering.Animation(photo[None], (100,))
    monkeypatch.setattr(Recovery, "step_animation", lambda *_: drawn.append("gif") or moving)
    written = write_outputs(recovery, photo, tmp_path / "out", chosen)
    assert {path.name for path in written} == {OUTPUTS[output] for output in chosen}
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert set(drawn) == {"overlay", "steps", "gif"} & set(chosen)


def test_pictures_of_many_people_cost_little_more_than_those_of_a_few(
    recovery: Recovery, photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 40
    many = repeated(recovery[0], count)
    pixels, posed = [], []
    blend, place = meshes._blend, recovered_people.place_bodies

    def counting_blend(window: NDArray[np.uint8], *rest: Any) -> None:
        pixels.append(window.shape[0] * window.shape[1])
        blend(window, *rest)

    def counting_place(body: Any, rotations: Any, *rest: Any) -> Any:
        posed.append(len(rotations))
        return place(body, rotations, *rest)

    monkeypatch.setattr(meshes, "_blend", counting_blend)
    monkeypatch.setattr(recovered_people, "place_bodies", counting_place)
    write_outputs(many, photo, tmp_path, ["steps"])
    with Image.open(tmp_path / "steps.png") as steps:
        assert steps.height < 5000
    # As many as in 8 strips of one person's height.
    assert sum(pixels) < 8 * 6 * 360 * 360
    assert sum(posed) <= 6 * count


def test_the_strips_carry_the_persons_numbers(
    recovery: Recovery, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(
        rendering, "step_strip", lambda *_, title, **__: titles.append(title) or photo
    )
    recovery.step_strip(photo, 1)
    replace(recovery[1], skipped=()).step_strip(photo)
    renumbered = replace(recovery, persons=np.array([4, 7]))
    renumbered.step_strip(photo, 1)
    assert titles == [f"person {recovery.persons[1]}", "input", "person 7"]


def repeated(one: Recovery, count: int) -> Recovery:
    """A recovery of one person, many times."""
    fields = {
        name: np.repeat(value, count, axis=0)
        for name, value in vars(one).items()
        if isinstance(value, np.ndarray) and name != "faces"
    }
    for name in ("loss_history", "stop_reason", "traces"):
        fields[name] = getattr(one, name) * count
    fields["persons"] = np.arange(count)
    return replace(one, **fields, keypoints=one.keypoints.select([0] * count))


def test_the_page_has_every_step_and_the_keypoints_of_the_result(
    recovery: Recovery, photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery.save(tmp_path / "r.html", image=photo)
    assert 1e6 < (tmp_path / "r.html").stat().st_size < 3e6
    made: list[Any] = []
    monkeypatch.setattr(rendering, "page", lambda people, *_, **__: made.extend(people) or "")
    # A camera of one's own: the body moves to where the first person's camera sees it the same.
    focal = recovery.focal_length * np.float32([1, 1.25])
    other = replace(recovery, focal_length=focal)
    other.page(photo)
    for index, person in enumerate(made):
        assert person.steps == list(range(int(recovery.best_step[index]) + 1))
        xy = recovery.step_vertices(index)[..., :2]
        np.testing.assert_allclose(person.vertices[..., :2], xy, atol=1e-6)
        hips = person.joints[-1, 0]
        seen = hips[:2] / hips[2] * focal[0] + recovery.principal_point[0]
        own = recovery.joints[index, 0]
        expected = own[:2] / own[2] * focal[index] + recovery.principal_point[index]
        np.testing.assert_allclose(seen, expected, atol=3)
    np.testing.assert_allclose(made[0].keypoints[-1], recovery.keypoints_2d[0], atol=1e-2)
    made.clear()
    repeated(recovery[0], 100).page(photo)
    assert [person.steps for person in made] == [[int(recovery.best_step[0])]] * 100
    with pytest.raises(ValueError, match=r"image came with .*only \.html, \.gif"):
        recovery.save(tmp_path / "r.glb", image=photo)


def test_the_moving_picture_has_every_step_and_the_distances_of_the_recovery(
    recovery: Recovery, photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"steps\.gif shows the photograph: pass"):
        recovery.save(tmp_path / "steps.gif")
    shown: list[Any] = []
    draw = rendering.step_animation

    def small(image: Any, people: Any, *rest: Any, **options: Any) -> Any:
        shown.extend(people)
        return draw(image, people, *rest, **options | {"max_side": 64, "turn": 2})

    monkeypatch.setattr(rendering, "step_animation", small)
    recovery.save(tmp_path / "steps.gif", image=photo)
    with Image.open(tmp_path / "steps.gif") as file:
        assert file.n_frames == recovery.best_step.max() + 1 + 2  # type: ignore[attr-defined]
    errors = [[person.errors_px()[k] for k in (0, -1)] for person in shown]
    np.testing.assert_allclose(errors, recovery.reprojection_px, rtol=1e-3)
