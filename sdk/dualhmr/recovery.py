"""`Recovery`: the result, with files and pictures of the bodies."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import BodyArrays
from dualhmr.files import atomic_path, write_text
from dualhmr.images import read_image, upright_by_keypoints
from dualhmr.recovered_people import RecoveredPeople
from dualhmr.recovery_files import padded, read_recovery_fields, trace_arrays

if TYPE_CHECKING:
    from dualhmr.motion import Motion
    from dualhmr.rendering.animation import Animation
    from dualhmr.rendering.page import PagePerson

OVERLAY_COLORS = ("person", "uncertainty")
"""What the colours of `Recovery.overlay` and `Recovery.step_strip` can show."""
_PAGE_BODIES = 160
"""Of all persons and steps in a page: 9 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class Recovery(RecoveredPeople):
    """P recovered persons. Arrays are float32 with the person axis first.

    The camera frame is x right, y down, z forward, in metres. `recovery[i]` is the recovery of one
    person; iterating gives them one by one.
    """

    def save(self, path: str | os.PathLike[str], *, image: Any = None) -> None:
        """Writes arrays (`.npz`), meshes (`.glb`, `.obj`, `.ply`), a page, the steps, a skeleton.

        An `.npz` holds the arrays of this class under their names, and what `load` needs; mesh
        files are y-up. `.html` is one page that shows the bodies in 3D at every step in any
        browser, without a network, in front of `image`, the one passed to `recover`; it holds the
        mesh, and the photograph.
        `.gif`, `.webp` and `.apng` are the moving picture of `step_animation(image)`.
        `.bvh`, `.trc` and `.smpl` are the skeleton of the only person, as `motion().save` does it;
        `motion(person).save("p.glb")` is a mesh with its skeleton. The file is written completely
        or not at all. Raises ValueError for another suffix, an `image` where the file does not show
        it, none where it must, a skeleton of several persons or a body left out of a pickle (steps,
        skeletons), FileNotFoundError for a missing folder, and PermissionError.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".html":
            write_text(path, self.page(image))
            return
        from dualhmr.rendering import ANIMATION_SUFFIXES, MESH_SUFFIXES, write_mesh

        if suffix in ANIMATION_SUFFIXES:
            if image is None:
                raise ValueError(f"{path} shows the photograph: pass the one recovered, image=...")
            self.step_animation(image).write(path)
            return
        if image is not None:
            shown = ", ".join((".html", *ANIMATION_SUFFIXES))
            raise ValueError(f"image came with {path}; only {shown} show the photograph")
        if suffix == ".npz":
            # Into a file, as NumPy adds ".npz" to every other name, ".NPZ" too.
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **self._arrays())  # type: ignore[arg-type]
            return
        from dualhmr.motion import MOTION_SUFFIXES

        if suffix not in MESH_SUFFIXES and suffix in MOTION_SUFFIXES:
            self.motion().save(path)
            return
        if suffix not in MESH_SUFFIXES:
            others = (*ANIMATION_SUFFIXES, *MESH_SUFFIXES, *MOTION_SUFFIXES)
            suffixes = ", ".join(dict.fromkeys((".npz", ".html", *others)))
            raise ValueError(f"cannot save {path}: its suffix must be one of {suffixes}")
        write_mesh(path, self.vertices, self.faces, numbers=self.persons.tolist())

    def page(self, image: Any = None, *, title: str | None = None) -> str:
        """The page that `save("result.html")` writes: bodies in 3D at every step, as HTML.

        `image` is the one passed to `recover`, or None. Its file name is the title, unless one is
        passed. Of more than 160 bodies, steps are left out between the first and the result.
        """
        from dualhmr import rendering

        if title is None:
            title = Path(image).name if isinstance(image, str | os.PathLike) else "dualhmr"
        one = len(self) > 0
        return rendering.page(
            [self._page_person(person) for person in range(len(self))],
            self.faces,
            self.body.parents if one and self.body is not None else (),
            focal_length=float(self.focal_length[0]) if one else 1.0,
            principal_point=tuple(self.principal_point[0].tolist()) if one else (0.0, 0.0),
            image=None if image is None else self._upright(image),
            title=title,
        )

    def show(self, image: Any = None) -> None:
        """Shows the page that `save("result.html")` writes, in the browser or a notebook's cell.

        `image` is the one passed to `recover`, or None.
        """
        from dualhmr.rendering.browser import show_page

        path = show_page(self.page(image))
        if path is not None:
            print(f"the page is {path}")

    def _page_person(self, person: int) -> PagePerson:
        from dualhmr.rendering.page import PagePerson, camera_shift

        shown = max(_PAGE_BODIES // len(self), 1)
        steps = np.unique(
            np.linspace(self.best_step[person], 0, shown).round().astype(int)
        ).tolist()
        vertices, joints = self._posed(person, steps)
        # The page has one camera: the first person's. For another one's camera (of some networks
        # every person has one), the body moves so that it stays where the photograph shows it.
        moved = camera_shift(
            self.traces[person].translation[steps][:, 2],
            self.focal_length[person],
            self.principal_point[person],
            (self.focal_length[0], self.principal_point[0]),
        )[:, None]
        return PagePerson(
            number=int(self.persons[person]),
            steps=steps,
            vertices=vertices + moved,
            joints=joints + moved,
            keypoints=self._keypoints_of(person, vertices, joints),
            observed=self._observed(person),
            losses=[self.loss_history[person][step] for step in steps],
            uncertainty=self[person].vertex_uncertainty()[0],
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, body: BodyArrays | None = None) -> Recovery:
        """Reads what `save("recovery.npz")` wrote, in a file from anybody: nothing in it runs.

        Who was skipped, the warnings, the times and the engines are not in the file. `body` is the
        one that was recovered (`read_body`); the free one is found by itself, and without another
        one there are no steps. Raises FileNotFoundError; ValueError for a damaged file, other
        arrays or another body.
        """
        fields_read = read_recovery_fields(path, body=body)
        return cls(
            skipped=(),
            warnings=(),
            engine="unknown",
            adaptation="unknown",
            timings_ms={},
            **fields_read,
        )

    def motion(self, person: int | None = None) -> Motion:
        """One person as a motion of one frame, which saves a skeleton: `.npz`, `.bvh` and others.

        `person` counts the recovered ones; None is the only one. `Motion.of` joins recoveries of
        a video's frames. Raises ValueError if None is of several persons, or where the body was
        left out of a pickle.
        """
        if person is None and len(self) != 1:
            raise ValueError(f"this recovery is of {len(self)} persons: say which, motion(0)")
        from dualhmr.motion import Motion

        body, one = self._own_body("make the motion"), self[person or 0]
        return Motion(
            rotations=np.concatenate([one.global_orient[:, None], one.body_pose], axis=1),
            betas=one.betas[0],
            translation=one.translation,
            body=body,
            focal_length=one.focal_length,
            principal_point=one.principal_point,
            confidence=one.keypoints.confidence.mean(1),
        )

    def overlay(
        self, image: Any, *, keypoints: bool = False, color: str = "person"
    ) -> npt.NDArray[np.uint8]:
        """The photograph with the bodies drawn over it, and a side view of them, as RGB.

        `image` is the one passed to `recover`. With `keypoints`, the user's are drawn as dots.
        `color` is one of `OVERLAY_COLORS`: a colour for each person, or for each vertex by its
        uncertainty, with a scale in centimetres. Raises ValueError for another one.
        """
        from dualhmr import rendering

        _check_color(color)
        dots = np.concatenate([self.keypoints.xy, self.keypoints.confidence[..., None]], axis=2)
        return rendering.overlay(
            self._upright(image),
            self.vertices,
            self.faces,
            focal_length=self.focal_length,
            principal_point=self.principal_point,
            keypoints=dots if keypoints else None,
            distances=self.vertex_uncertainty() if color == "uncertainty" else None,
        )

    def step_strip(
        self, image: Any, person: int = 0, *, panel_height: int = 360, color: str = "person"
    ) -> npt.NDArray[np.uint8]:
        """One person after 0, 1, 2, ... steps, side by side, as RGB (as in the paper's Fig. 4).

        `person` counts the recovered ones; its number in `persons` is written below the photograph
        if there are several. The last panel is the recovered mesh, the best iterate. `color` is as
        in `overlay`, by the uncertainty of each step's body. Raises ValueError for another one.
        """
        from dualhmr import rendering

        _check_color(color)
        several = len(self) + len(self.skipped) > 1
        steps = int(self.best_step[person]) + 1
        shown, words = rendering.shown_steps(steps), rendering.step_words(steps)
        vertices, joints = self._posed(person, shown)
        uncertain = color == "uncertainty"
        return rendering.step_strip(
            self._upright(image),
            vertices,
            self.faces,
            focal_length=float(self.focal_length[person]),
            principal_point=self.principal_point[person],
            labels=[words[step] for step in shown],
            title=f"person {self.persons[person]}" if several else "input",
            panel_height=panel_height,
            distances=self._uncertainty_of(person, vertices, joints) if uncertain else None,
        )

    def step_animation(self, image: Any, *, max_side: int = 440, turn: int = 24) -> Animation:
        """The steps as a moving picture: everybody over the photograph, and from the side.

        `image` is the one passed to `recover`; `rendering.step_animation` says what is shown. Of
        more than 160 bodies, steps are left out between the first and the result.
        """
        from dualhmr import rendering

        one = len(self) > 0
        return rendering.step_animation(
            self._upright(image),
            [self._page_person(person) for person in range(len(self))],
            self.faces,
            focal_length=float(self.focal_length[0]) if one else 1.0,
            principal_point=self.principal_point[0] if one else (0.0, 0.0),
            max_side=max_side,
            turn=turn,
        )

    def _upright(self, image: Any) -> npt.NDArray[np.uint8]:
        pixels, _ = upright_by_keypoints(
            read_image(image), self.keypoints.xy, self.keypoints.confidence
        )
        return pixels

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        arrays |= trace_arrays(self.keypoints, self.traces, self.body, self.betas.shape[1])
        return arrays | {
            "loss_history": padded(self.loss_history).astype(np.float64),
            "stop_reason": np.array(self.stop_reason, str),
        }


def _check_color(color: str) -> None:
    if color not in OVERLAY_COLORS:
        raise ValueError(f"unknown color {color!r}; known are {', '.join(OVERLAY_COLORS)}")
