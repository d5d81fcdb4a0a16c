"""A bundle: the folder that holds a pair of networks ready to run. Export writes it.

manifest.json          the networks, how they are adapted, and the sha256 of every other file
backbone.onnx          the main network's backbone
auxiliary.onnx         the whole auxiliary network
head.safetensors       the main network's head, which is adapted
backbone.safetensors   optional: weights for running or adapting the backbone in PyTorch
auxiliary.safetensors  optional: likewise
*.onnx.data            the weights of a graph beside it, where one file cannot hold both
adaptation.onnx        optional: the whole adaptation by one schedule, for places without numba
extra_joints.npy       optional: SPIN's J_regressor_extra.npy, of who exported with it

A bundle for PyTorch alone (`dualhmr export --format torch`) has no `.onnx` file, one of
`dualhmr export --graphs-only` no weights but the head's.
"""

import math
import os
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule, named_schedule
from dualhmr.arrays import check_torch
from dualhmr.camera import CAMERAS, FOCAL_LENGTHS
from dualhmr.crop import CROP_CONVENTIONS
from dualhmr.files import sha256, write_json
from dualhmr.keypoints import network_keypoints
from dualhmr.objective.weights import LossWeights
from dualhmr.plain_data import from_plain
from dualhmr.untrusted import brief, one_value_error, read_json

if TYPE_CHECKING:
    from dualhmr.networks import MeshRegressor

FORMAT = "dualhmr-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FROZEN_GRAPHS = ("backbone.onnx", "auxiliary.onnx")
FROZEN_WEIGHTS = ("backbone.safetensors", "auxiliary.safetensors")
HEAD_WEIGHTS = "head.safetensors"
ADAPTATION_GRAPH, EXTRA_JOINTS = "adaptation.onnx", "extra_joints.npy"
ADAPTATION_START = "adaptation_start.onnx"
ADAPTATION_STEPS = ("adaptation_step_1.onnx", "adaptation_step_2.onnx")
"""Of the phases of a schedule."""
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
BUNDLE_FILES = (
    *FROZEN_GRAPHS,
    *(f"{graph}.data" for graph in FROZEN_GRAPHS),
    HEAD_WEIGHTS,
    *FROZEN_WEIGHTS,
    ADAPTATION_GRAPH,
    ADAPTATION_START,
    *ADAPTATION_STEPS,
    EXTRA_JOINTS,
)
"""All that a bundle may have. Every bundle has the head, and the graphs or PyTorch's weights."""
_LARGEST_LAYER, _MOST_LAYERS, _MOST_WEIGHTS = 4096, 100, 1 << 27
"""The widest layer of the releases has 2048 numbers."""
_MOST_PERSONS = 4096
"""Of a batch; as TensorRT's engines are built for."""


@dataclass(frozen=True)
class NetworkSpec:
    """One network's architecture."""

    backbone: str
    """A name of `dualhmr.networks.regressor.BACKBONES`."""
    backbone_options: dict[str, int]
    reads: tuple[str, ...]
    """The network's inputs: some of `image`, `keypoints`, `box_info`."""
    hidden: int
    """Units of the head's hidden layers; 0 for a head without them."""
    iterations: int
    """How often the head corrects its estimate."""
    head_reads_box_info: bool

    def __post_init__(self) -> None:
        options = self.backbone_options
        for name, size in {**options, "hidden": self.hidden, "iterations": self.iterations}.items():
            least = 1 if name == "iterations" else 0
            most = _MOST_LAYERS if name in ("blocks", "iterations") else _LARGEST_LAYER
            if not least <= size <= most:
                raise ValueError(f"{name[:80]} is {size}, expected {least} to {most}")
        if options.get("blocks", 0) * options.get("feature_count", 0) ** 2 > _MOST_WEIGHTS:
            raise ValueError(f"the options {brief(options)} make a network of gigabytes")

    def build(self) -> "MeshRegressor":
        """The network in PyTorch, with untrained weights.

        Raises ValueError if the spec contradicts itself, ImportError without PyTorch.
        """
        check_torch("building a network")
        from dualhmr.networks import MeshRegressor, RegressorHead, build_backbone

        backbone = build_backbone(self.backbone, **self.backbone_options)
        head = RegressorHead(
            backbone.feature_count,
            hidden=self.hidden,
            iterations=self.iterations,
            reads_box_info=self.head_reads_box_info,
        )
        network = MeshRegressor(backbone, head)
        if network.reads != self.reads:
            raise ValueError(
                f"a {self.backbone} reads {network.reads}, the manifest says {brief(self.reads)}"
            )
        return network


@dataclass(frozen=True)
class ScheduleDefaults:
    """How these networks are adapted by default."""

    name: str = "paper"
    """Of the schedule."""
    adam_rate: float = 1e-5
    descent_rate: float = 1e-5
    """Of gradient descent, if the schedule has it; best as the inner step's in training."""
    descent_max_norm: float | None = None
    """Gradient descent clips the gradient to this norm."""
    tolerance: float = 2e-5

    def schedule(self, name: str | None = None, *, weights: LossWeights) -> Schedule:
        """The schedule of that name (None: the default one) at these rates, for these losses."""
        return named_schedule(
            name or self.name,
            adam_rate=self.adam_rate,
            descent_rate=self.descent_rate,
            descent_max_norm=self.descent_max_norm,
            tolerance=self.tolerance,
            keypoints_weight=weights.keypoints_2d,
        )


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    name: str
    description: str
    body: str
    """The body whose betas the networks regress: a `Body.name`, or `smpl`."""
    main: NetworkSpec
    auxiliary: NetworkSpec
    image_size: tuple[int, int]
    """Height and width of the crop."""
    keypoint_set: str
    """The name of the networks' own 2D keypoints, see `network_keypoints`."""
    camera: str
    """One of `dualhmr.camera.CAMERAS`."""
    weights: LossWeights
    schedule: ScheduleDefaults
    files: dict[str, str]
    """sha256 of every file, by name."""
    provenance: dict[str, str]
    """Where the weights come from: commit, configuration, data."""
    crop: str = "dualhmr"
    """How the networks' crops are made: one of `dualhmr.crop.CROP_CONVENTIONS`."""
    focal_length: str = "diagonal"
    """The guess where nobody knows the image's: one of `dualhmr.camera.FOCAL_LENGTHS`."""
    shared_backbone: bool = False
    """Whether the auxiliary network has the main one's backbone: it is then the main network, or a
    head of its own, and its files are of that head, which reads `features`."""
    precision: str = "fp32"
    """The type that the ONNX files' backbones compute in, one of `PRECISIONS`."""
    max_batch: int | None = None
    """Most persons per batch of TensorRT engines; None: the engines' default."""
    format: str = FORMAT
    format_version: int = FORMAT_VERSION


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`. Raises what `open_bundle` raises."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a bundle: it has no {MANIFEST}")
    plain = read_json(path)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ValueError(f"{path} is not the manifest of a bundle: it lacks format {FORMAT!r}")
    version = plain.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {brief(version)}, this dualhmr reads up to "
            f"{FORMAT_VERSION}; install a newer dualhmr"
        )
    with one_value_error(path, "not a manifest"):
        manifest = from_plain(Manifest, plain)
        _check_names(manifest)
        _check_numbers(manifest)
        _check_shared_backbone(manifest)
    _check_file_names(path, set(manifest.files))
    return manifest


def _check_names(manifest: Manifest) -> None:
    for field, name, known in (
        ("crop convention", manifest.crop, CROP_CONVENTIONS),
        ("camera", manifest.camera, CAMERAS),
        ("focal length", manifest.focal_length, FOCAL_LENGTHS),
        ("precision", manifest.precision, PRECISIONS),
        ("schedule", manifest.schedule.name, SCHEDULE_NAMES),
    ):
        if name not in known:
            raise ValueError(f"unknown {field} {brief(name)}; known are {', '.join(known)}")
    network_keypoints(manifest.keypoint_set)


def _check_shared_backbone(manifest: Manifest) -> None:
    main, auxiliary = (
        (spec.backbone, spec.backbone_options) for spec in (manifest.main, manifest.auxiliary)
    )
    if manifest.shared_backbone and main != auxiliary:
        raise ValueError(f"a backbone is shared by networks that have {main[0]} and {auxiliary[0]}")


def _check_numbers(manifest: Manifest) -> None:
    if manifest.max_batch is not None and not 1 <= manifest.max_batch <= _MOST_PERSONS:
        raise ValueError(f"max_batch is {brief(manifest.max_batch)}, expected 1 to {_MOST_PERSONS}")
    size = CROP_CONVENTIONS[manifest.crop].size
    if manifest.image_size != size:
        raise ValueError(
            f"image_size is {brief(manifest.image_size)}, but crops are {size.height} by "
            f"{size.width} pixels"
        )
    rates = {f"weights.{name}": value for name, value in asdict(manifest.weights).items()}
    rates |= {f"schedule.{name}": value for name, value in asdict(manifest.schedule).items()}
    for field, value in rates.items():
        if isinstance(value, float) and not 0 <= value < math.inf:
            raise ValueError(f"{field} is {value}, expected a finite number of 0 or more")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`; the last step of an export."""
    write_json(folder / MANIFEST, asdict(manifest))


def _check_file_names(path: Path, files: set[str]) -> None:
    torch_only = files.issuperset(FROZEN_WEIGHTS) and files.isdisjoint(FROZEN_GRAPHS)
    missing = {HEAD_WEIGHTS, *(() if torch_only else FROZEN_GRAPHS)} - files
    unknown = files - set(BUNDLE_FILES)
    if missing or unknown:
        raise ValueError(
            f"{path} lists the wrong files: lacks {sorted(missing)}, unknown are "
            f"{brief(sorted(unknown))}"
        )


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: all its files exist and have the hashes in the manifest."""

    folder: Path
    manifest: Manifest

    def path(self, file: str) -> Path:
        """The path of a file. Raises FileNotFoundError if the bundle comes without it."""
        if file not in self.manifest.files:
            if file in FROZEN_GRAPHS:  # which other bundles have
                raise FileNotFoundError(
                    f"bundle {self.folder} has weights for PyTorch alone, not {file}; use "
                    'backend="torch", or export it again without --format torch'
                )
            if file in FROZEN_WEIGHTS:
                raise FileNotFoundError(
                    f"bundle {self.folder} has graphs only, without {file}, which PyTorch needs "
                    'for backend="torch", scope="all" and to be compared with; leave these out, or '
                    "export it again without --graphs-only"
                )
            raise FileNotFoundError(f"bundle {self.folder} comes without {file}; export it again")
        return self.folder / file

    @property
    def extra_joints(self) -> Path | None:
        """The file of extra joints, if the bundle has one."""
        return self.path(EXTRA_JOINTS) if EXTRA_JOINTS in self.manifest.files else None


def open_bundle(folder: str | os.PathLike[str] | None = None) -> Bundle:
    """Reads a bundle and checks every file's hash; None is the default bundle in the package.

    Raises FileNotFoundError for a missing folder or file, and ValueError for a manifest that is
    damaged or of a newer format and for a file that does not have its hash.
    """
    if folder is None:
        folder = Path(str(resources.files("dualhmr"))) / "assets" / "default_bundle"
    folder = Path(folder)
    manifest = read_manifest(folder)
    for file, expected in manifest.files.items():
        # Graphs may refer to it, and it has no hash.
        if (data := f"{file}.data") not in manifest.files and (folder / data).exists():
            raise ValueError(f"{folder / data} is not one of the bundle's files; remove it")
        if not (folder / file).is_file():
            raise FileNotFoundError(f"bundle {folder} lacks {file}; copy the whole folder again")
        found = sha256(folder / file)
        if found != expected:
            raise ValueError(
                f"{folder / file} is damaged or was replaced: its sha256 is {found}, the manifest "
                f"says {expected}; copy the whole bundle again"
            )
    return Bundle(folder, manifest)
