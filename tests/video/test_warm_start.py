"""When a head goes on from frame to frame, and when it does not, with a fitter by script."""

from types import SimpleNamespace
from typing import Any

import pytest

from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import NonFiniteError, trained_schedule
from dualhmr.video.warm_start import COLD, RESET, WARM, WarmOptions, WarmStart, can_continue

SCHEDULE = trained_schedule(GradientDescent(0.01))


class ScriptedFitter:
    """Evidence is (loss of the trained head, loss of a kept head, or an error)."""

    runs_on = "script"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, int]] = []

    def adapt(self, *_: Any) -> Any:
        raise AssertionError

    adapt_all = first_guess = adapt

    def adapt_from(self, evidence: Any, schedule: Any, head: Any) -> tuple[Any, Any]:
        self.calls.append((head, schedule.max_steps))
        loss = self.loss_with(evidence, schedule, head)
        body = SimpleNamespace(iterates=SimpleNamespace(losses=(loss,)))
        return body, (head or 0) + 1

    def loss_with(self, evidence: Any, _: Any, head: Any) -> float:
        trained, kept, fails = evidence
        if fails and head is not None:
            raise NonFiniteError("kept")
        if trained is None and head is None:
            raise NonFiniteError("trained")
        return float(trained if head is None else kept)


def person(trained: float | None = 1.0, kept: float = 0.5, *, fails: bool = False) -> Any:
    return trained, kept, fails


def starts(warm: WarmStart, *frames: tuple[Any, float]) -> list[str]:
    return [warm.adapt([evidence], [1], time_s)[1][0] for evidence, time_s in frames]


def test_it_goes_on_with_few_steps_of_the_last_phase() -> None:
    fitter = ScriptedFitter()
    warm = WarmStart(fitter, SCHEDULE, WarmOptions(steps=3))  # type: ignore[arg-type]
    assert starts(warm, (person(), 0.0), (person(), 0.1), (person(), 0.2)) == [COLD, WARM, WARM]
    assert fitter.calls == [(None, 14), (1, 3), (2, 3)]
    assert isinstance(warm._warm.phases[0].optimiser, Adam)
    assert len(warm._warm.phases) == 1


@pytest.mark.parametrize(
    ("second", "start"),
    [
        (person(kept=0.99), WARM),
        (person(kept=1.01), RESET),
        (person(kept=float("nan")), WARM),
        (person(None, kept=9.0), WARM),
        (person(fails=True), RESET),
    ],
)
def test_it_is_reset_where_the_trained_head_is_better(second: Any, start: str) -> None:
    warm = WarmStart(ScriptedFitter(), SCHEDULE)  # type: ignore[arg-type]
    assert starts(warm, (person(), 0.0), (second, 0.1), (person(), 0.2)) == [COLD, start, WARM]


def test_a_larger_jump_and_a_gap() -> None:
    warm = WarmStart(ScriptedFitter(), SCHEDULE, WarmOptions(jump=2.0, gap_s=0.5))  # type: ignore[arg-type]
    frames = [(person(), 0.0), (person(kept=1.9), 0.5), (person(kept=2.1), 0.6), (person(), 1.2)]
    assert starts(warm, *frames) == [COLD, WARM, RESET, COLD]


def test_heads_belong_to_tracks() -> None:
    fitter = ScriptedFitter()
    warm = WarmStart(fitter, SCHEDULE, threads=2)  # type: ignore[arg-type]
    everybody = [person() for _ in range(3)]
    warm.adapt(everybody, [1, 2, 3], 0.0)
    warm.keep_only({2, 3, 4})
    assert len(warm) == 2
    _, found = warm.adapt(everybody, [1, 3, 4], 0.1)
    assert found == [COLD, WARM, COLD]
    bodies, found = warm.adapt([person(None)], [7], 0.2)
    assert isinstance(bodies[0], NonFiniteError)
    assert (found, len(warm)) == ([COLD], 4), "somebody without a body keeps no head"


def test_a_fitter_that_keeps_no_heads(caplog: pytest.LogCaptureFixture) -> None:
    plain: Any = SimpleNamespace(runs_on="plain")
    assert not can_continue(plain, "onnx")
    assert "'onnx' keeps no heads: every frame starts at the trained head" in caplog.text
    with pytest.raises(ValueError, match="plain adapts anew in every frame"):
        WarmStart(plain, SCHEDULE)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"jump": 0}, {"gap_s": -1}])
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is -?[01], expected"):
        WarmOptions(**wrong)
