"""Damaged and hostile files: a sane value, or one ValueError that names the file.

`pytest tests/fuzz --fuzz-count 3000 -s` tries more inputs than CI does, and prints the counts.
"""

import functools
import json
import pickle
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.damage import JSON, NPY, NPZ, NPZ_OF_OBJECTS, PICKLE, SAFETENSORS, TORCH, Damage
from helpers.fake_bodies import random_arrays, write_smpl_npz, write_smpl_pickle
from helpers.joblib_files import write_joblib_file
from helpers.release_checkpoints import write_mean_params
from helpers.small_bundle import SPEC, upright, write_small_bundle
from helpers.spin_files import everything
from helpers.tiny_training import TINY, small_body

from dualhmr import SMPLParameters, read_smpl_parameters
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import read_body, read_extra_joints
from dualhmr.bundle import read_manifest
from dualhmr.files import write_json
from dualhmr.networks import read_mean_params
from dualhmr.weights import save_weights
from dualhmr_export.checkpoints.torch_files import read_checkpoint
from dualhmr_training.checkpoints import (
    Checkpoint,
    RunningMeans,
    latest_checkpoint,
    save_checkpoint,
)
from dualhmr_training.data.annotations import read_annotations
from dualhmr_training.data.synthetic.poses import read_poses, save_poses
from dualhmr_training.evaluation.protocols import load_human36m_regressor
from dualhmr_training.evaluation.report import (
    ErrorCurve,
    Evaluation,
    EvaluationReport,
    JointChange,
    evaluation_table,
    read_evaluation_report,
)
from dualhmr_training.run import history_rows
from dualhmr_training.training_folder import open_networks, training_record, write_record

IN_CI = 150
"""Inputs for each reader."""
LONGEST_MESSAGE = 1200
MEMORY_MB = 300
"""Growth of the process's peak over all inputs of one reader."""
SLOWEST_SECONDS = 10
"""For one input; a hang takes minutes."""


@dataclass(frozen=True)
class Reader:
    """What to fuzz: writes a whole file, or a folder with it, and reads it again."""

    write: Callable[[Path], Path]
    """Given an empty folder; returns the file to damage."""
    read: Callable[[Path], Any]
    """Given that file."""
    damages: tuple[Damage, ...]
    named: Callable[[Path], Path] = lambda path: path
    """What an error has to name."""


def made(writer: Callable[[Path], object], name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        writer(folder / name)
        return folder / name

    return write


def new_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(random_arrays(vertices=20), protocol=4))


def poses(path: Path) -> None:
    save_poses(path, np.random.default_rng(0).normal(0, 1, (4, 24, 3)), ["a", "b", "b", "c"])


def torch_file(path: Path, *, new_format: bool = True) -> None:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}
    content = {"model": state, "epoch": np.int64(3), "losses": np.arange(3.0), "names": ["a", None]}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)


def training(folder: Path) -> None:
    config = replace(TINY, main=SPEC, auxiliary=None)
    write_record(folder, training_record(config, small_body()))
    save_weights(upright(SPEC, 0), folder / "main.safetensors")


def training_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        training(folder)
        return folder / name

    return write


def checkpoint_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tensors = {"a.weight": torch.randn(3, 2), "a.count": torch.tensor(3)}
        config = json.loads(json.dumps(asdict(TINY)))
        means = RunningMeans(3, {"main/betas": 0.3})
        return save_checkpoint(folder, Checkpoint(5, tensors, {}, {}, config, means)) / name

    return write


def history(path: Path) -> None:
    rows = [{"step": n, "time": 1.5 * n, "main/mpjpe": 0.1} for n in range(1, 5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def report(path: Path) -> None:
    curve = ErrorCurve((3.0, 2.0), (0.1, 0.1), None)
    evaluation = Evaluation(
        "noise 0", "paper", 1e-4, 1, 2, 0.5, {"converged": 2}, {"mpjpe_mm": curve},
        {"pelvis": JointChange(1.0, 2.0, 3.0, 4.0)},
    )  # fmt: skip
    write_json(path, asdict(EvaluationReport("b", "free", "none", "synthetic", {}, (evaluation,))))


def lines(damage: Damage) -> Damage:
    """Damage to one line."""

    def damaged(content: bytes, rng: random.Random) -> bytes:
        rows = content.splitlines(keepends=True)
        at = rng.randrange(len(rows))
        rows[at] = damage(rows[at], rng)
        return b"".join(rows)

    return damaged


ROMP_RESULTS = {"smpl_thetas": np.ones((2, 72)), "smpl_betas": np.ones((2, 10))}


def read_bodies(path: Path) -> list[SMPLParameters]:
    return read_smpl_parameters(path, frame=0)


READERS = {
    "body npz": Reader(
        made(lambda p: write_smpl_npz(p, random_arrays(vertices=20)), "m.npz"), read_body, NPZ
    ),
    "body pkl": Reader(
        made(lambda p: write_smpl_pickle(p, random_arrays(vertices=20)), "m.pkl"), read_body, PICKLE
    ),
    "body pkl of Python 3": Reader(made(new_pickle, "m.pkl"), read_body, PICKLE),
    "bodies that joblib wrote": Reader(made(write_joblib_file, "p.pkl"), read_bodies, PICKLE),
    "bodies npz": Reader(
        made(lambda p: np.savez(p, poses=np.zeros((2, 72)), betas=np.ones(10)), "p.npz"),
        read_bodies,
        NPZ,
    ),
    "bodies of objects": Reader(
        made(lambda p: np.savez(p, results=ROMP_RESULTS), "r.npz"),  # type: ignore[arg-type]
        read_smpl_parameters,
        NPZ_OF_OBJECTS,
    ),
    "poses": Reader(made(poses, "p.npz"), read_poses, NPZ),
    "mean parameters": Reader(made(write_mean_params, "m.npz"), read_mean_params, NPZ),
    "annotations": Reader(
        made(lambda p: np.savez(p, **everything()), "a.npz"), read_annotations, NPZ
    ),
    "extra joints": Reader(
        made(lambda p: np.save(p, np.ones((9, 7))), "j.npy"), read_extra_joints, NPY
    ),
    "human36m joints": Reader(
        made(lambda p: np.save(p, np.ones((17, 7))), "j.npy"), load_human36m_regressor, NPY
    ),
    "manifest": Reader(
        lambda folder: write_small_bundle(folder / "bundle") / "manifest.json",
        lambda p: read_manifest(p.parent),
        JSON,
    ),
    "training record": Reader(
        training_file("training.json"), lambda p: open_networks(p.parent), JSON, lambda p: p.parent
    ),
    "training weights": Reader(
        training_file("main.safetensors"), lambda p: open_networks(p.parent), SAFETENSORS
    ),
    "history": Reader(made(history, "history.jsonl"), history_rows, tuple(map(lines, JSON))),
    "checkpoint state": Reader(
        checkpoint_file("state.json"),
        lambda p: latest_checkpoint(p.parents[1]),
        JSON,
        lambda p: p.parent,
    ),
    "checkpoint tensors": Reader(
        checkpoint_file("weights.safetensors"),
        lambda p: latest_checkpoint(p.parents[1]),
        SAFETENSORS,
        lambda p: p.parent,
    ),
    "evaluation": Reader(
        made(report, "e.json"), lambda p: evaluation_table(read_evaluation_report(p)), JSON
    ),
    "release": Reader(made(torch_file, "c.pt"), read_checkpoint, TORCH),
    "old release": Reader(
        made(functools.partial(torch_file, new_format=False), "c.pt"), read_checkpoint, PICKLE
    ),
}


def check_sane(value: Any) -> None:
    """Finite where it is a body or arrays of one."""
    if isinstance(value, BodyArrays):
        for array in (value.v_template, value.shapedirs, value.posedirs, value.weights):
            assert np.isfinite(array).all()
        assert len(value.name) < 300
    for body in value if isinstance(value, list) else ():
        if isinstance(body, SMPLParameters):
            assert np.isfinite(body.rotations).all()
            assert np.isfinite(body.betas).all()


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_readers(
    tmp_path: Path, reader: Reader, fuzz_count: int | None, request: pytest.FixtureRequest
) -> None:
    path = reader.write(tmp_path)
    check_sane(reader.read(path))
    whole = path.read_bytes()
    counts: Counter[str] = Counter()
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(fuzz_count or IN_CI):
        rng = random.Random(seed)
        path.write_bytes(rng.choice(reader.damages)(whole, rng))
        start = time.process_time()
        try:
            check_sane(reader.read(path))
            counts["read"] += 1
        except ValueError as error:
            message = str(error)
            if str(reader.named(path)) not in message or len(message) > LONGEST_MESSAGE:
                pytest.fail(f"seed {seed}: {message[:3000]}")
            counts["ValueError"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}"[:3000]) from error
        slowest = max(slowest, time.process_time() - start)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"\n{request.node.callspec.id}: {dict(counts)}; peak memory grew by {growth:.0f} MB; "
        f"slowest {slowest:.2f} s"
    )
    assert growth < MEMORY_MB
    assert slowest < SLOWEST_SECONDS
    assert counts["ValueError"]
