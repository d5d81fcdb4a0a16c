import dataclasses
import json
import logging
import signal
from typing import Any, ClassVar

import pytest
import tensorrt_rtx
import torch
from helpers.tensorrt_graphs import BFLOAT16, FLOAT, HALF, graph

from dualhmr.engines.tensorrt.build import BuiltEngine, build_engine, profile_for
from dualhmr.engines.tensorrt.library import Library, load_library

LIBRARY = load_library("tensorrt_rtx")


def built(onnx: bytes, **settings: object) -> BuiltEngine:
    chosen = {"max_batch": 8, "library": LIBRARY, "target": "sm86"} | settings
    return build_engine(onnx, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FLOAT, HALF, BFLOAT16])
def test_a_graph_of_each_type_becomes_an_engine(
    kind: int, capfd: pytest.CaptureFixture[str]
) -> None:
    facts = {"file": "backbone.onnx"}
    result = built(graph(kind), metadata=facts)
    assert json.dumps(facts, separators=(",", ":")).encode() in result.engine
    assert result.timing_cache is None
    assert capfd.readouterr() == ("", "")


def test_weights_keep_the_types_of_the_graph() -> None:
    features = 10_000
    single, half, brain = (
        len(built(graph(kind, features=features)).engine) for kind in (FLOAT, HALF, BFLOAT16)
    )
    bytes_in_halves = 2 * features * (27 + 5)
    assert single > 2 * bytes_in_halves
    assert single - half > bytes_in_halves / 2
    assert single - brain > bytes_in_halves / 2


class Watched:
    """TensorRT's builder; keeps what it was configured with."""

    made: ClassVar[list["Watched"]] = []

    def __init__(self, logger: Any, real: Any = tensorrt_rtx.Builder) -> None:
        self._real, self.profiles = real(logger), []
        self.made.append(self)

    def create_builder_config(self) -> Any:
        self.config = self._real.create_builder_config()
        return self.config

    def create_optimization_profile(self) -> Any:
        self.profiles.append(self._real.create_optimization_profile())
        return self.profiles[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(("max_batch", "tf32"), [(1, True), (8, False)])
def test_engines_are_tuned_for_one_person_and_for_full_batches(
    max_batch: int, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_rtx, "Builder", Watched)
    built(graph(), max_batch=max_batch, tf32=tf32)
    builder, expected = Watched.made.pop(), [(1, 1, 1), (2, 8, 8)][: 1 + (max_batch > 1)]
    assert builder.config.get_flag(tensorrt_rtx.BuilderFlag.TF32) is tf32
    assert builder.config.num_optimization_profiles == len(expected)
    for profile, sizes in zip(builder.profiles, expected, strict=True):
        shapes = [tuple(shape) for shape in profile.get_shape("image")]
        assert shapes == [(size, 8, 8, 3) for size in sizes]
    used = {persons: profile_for(persons, len(expected)) for persons in range(1, max_batch + 1)}
    for persons, profile in used.items():
        smallest, _, largest = expected[profile]
        assert smallest <= persons <= largest


@pytest.mark.parametrize("max_batch", [0, -1, 5000])
def test_impossible_batches_are_refused(max_batch: int) -> None:
    with pytest.raises(ValueError, match=f"max_batch must be from 1 to 4096, got {max_batch}"):
        built(graph(), max_batch=max_batch)


def test_a_fixed_number_of_persons_is_built() -> None:
    assert built(graph(persons=2)).engine


def test_another_free_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"input 'image' has the shape \(-1, -1, 8, 3\)"):
        built(graph(height="H"))


def test_a_node_that_it_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match=r"cannot run the ONNX graph: node 'pooling' \(Unheard\)"):
        built(graph(pooling="Unheard"))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_graph_is_said_to_be_one(share: float) -> None:
    onnx = graph()
    cut = onnx[: int(share * len(onnx))]
    with pytest.raises(ValueError, match=rf"of {len(cut)} bytes; it is truncated, damaged or no"):
        built(cut)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"<html></html>"])
def test_something_else_is_said_to_be_no_graph(content: bytes) -> None:
    with pytest.raises(ValueError, match="cannot read the ONNX graph"):
        built(content)


def test_a_target_has_to_be_known() -> None:
    with pytest.raises(ValueError, match=r"builds for sm75, .* not for 'sm90'"):
        built(graph(), target="sm90")
    proper = dataclasses.replace(LIBRARY, name="tensorrt")
    with pytest.raises(ValueError, match="the GPU of this machine only, not for 'sm86'"):
        built(graph(), target="sm86", library=proper)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_failure_quotes_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match=r"for the GPU of this machine: .*Cuda Runtime"):
        built(graph(), target=None)
    assert capfd.readouterr() == ("", "")


def test_long_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 4095 fit"):
        built(graph(), metadata={"much": "x" * 5000})


class _Interrupt(logging.Handler):
    """Presses Ctrl-C at the first phase of a build."""

    def emit(self, _record: logging.LogRecord) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_build(caplog: pytest.LogCaptureFixture) -> None:
    log, before = (
        logging.getLogger("dualhmr.engines.tensorrt.build"),
        signal.getsignal(signal.SIGINT),
    )
    interrupt = _Interrupt()
    caplog.set_level(logging.DEBUG, log.name)
    log.addHandler(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            built(graph())
    finally:
        log.removeHandler(interrupt)
    phases = len(caplog.records)
    assert signal.getsignal(signal.SIGINT) == before
    caplog.clear()
    assert built(graph()).engine
    assert phases < len(caplog.records)


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
@pytest.mark.parametrize("earlier", [None, b"damaged"])
def test_tensorrt_proper_is_given_a_timing_cache(earlier: bytes | None) -> None:
    """With RTX in its place, whose timing caches are there but empty."""
    proper: Library = dataclasses.replace(LIBRARY, name="tensorrt")
    result = built(graph(), target=None, library=proper, timing_cache=earlier)
    assert result.timing_cache
    again = built(graph(), target=None, library=proper, timing_cache=result.timing_cache)
    assert again.timing_cache == result.timing_cache
