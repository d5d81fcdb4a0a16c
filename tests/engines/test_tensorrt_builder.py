import dataclasses
import json

import pytest
import torch
from helpers.tensorrt_graphs import BFLOAT16, FLOAT, HALF, graph

from dualhmr.engines.tensorrt import (
    BuiltEngine,
    Library,
    Profile,
    Progress,
    build_engine,
    load_library,
    profile_up_to,
)
from dualhmr.engines.tensorrt.build import Phases

LIBRARY = load_library("tensorrt_rtx")


def built(onnx: bytes, **settings: object) -> BuiltEngine:
    chosen = {"profile": profile_up_to(8), "library": LIBRARY, "target": "sm86"} | settings
    return build_engine(onnx, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FLOAT, HALF, BFLOAT16])
def test_a_graph_of_each_type_becomes_an_engine(
    kind: int, capfd: pytest.CaptureFixture[str]
) -> None:
    facts = {"file": "backbone.onnx", "profile": "1-1-8"}
    result = built(graph(kind), metadata=facts)
    assert json.dumps(facts, separators=(",", ":")).encode() in result.engine
    assert result.warnings == ()
    assert result.timing_cache is None
    assert 0 < result.seconds < 60
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


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 8), (1, 9, 8), (1, 1, 5000), (-1, -1, -1)])
def test_impossible_profiles_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"min {sizes[0]}, opt {sizes[1]}, max {sizes[2]}"):
        Profile(*sizes)


def test_a_fixed_number_of_persons_needs_no_profile() -> None:
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


def test_progress_rises_to_the_end() -> None:
    reports: list[Progress] = []
    built(graph(), progress=reports.append)
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert 5 < len(fractions) < 110
    assert str(Progress("Timing", 0.5, 2.0)) == " 50% after 2.0 s: Timing"


def test_progress_of_phases_within_phases() -> None:
    reports: list[Progress] = []
    phases = Phases(reports.append)
    phases.start("all", None, 2)
    phases.step("all", 0)
    phases.start("part", "all", 4)
    phases.step("part", 0)
    phases.finish("part")
    phases.step("all", 1)
    assert [report.fraction for report in reports] == [0.0, 0.5, 0.625, 1.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_progress_raises_ends_the_build(error: type[BaseException]) -> None:
    reports: list[Progress] = []

    def stop(report: Progress) -> None:
        reports.append(report)
        if report.fraction > 0.1:
            raise error

    with pytest.raises(error):
        built(graph(), progress=stop)
    assert reports[-1].fraction < 0.9
    assert built(graph()).engine


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
@pytest.mark.parametrize("earlier", [None, b"damaged"])
def test_tensorrt_proper_is_given_a_timing_cache(earlier: bytes | None) -> None:
    """With RTX in its place, whose timing caches are there but empty."""
    proper: Library = dataclasses.replace(LIBRARY, name="tensorrt")
    result = built(graph(), target=None, library=proper, timing_cache=earlier)
    assert result.timing_cache
    again = built(graph(), target=None, library=proper, timing_cache=result.timing_cache)
    assert again.timing_cache == result.timing_cache
