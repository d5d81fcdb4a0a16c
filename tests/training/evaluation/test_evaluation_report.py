import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from dualhmr.files import write_json
from dualhmr_training.evaluation.errors import PersonErrors
from dualhmr_training.evaluation.report import (
    Evaluation,
    EvaluationReport,
    evaluation_table,
    read_evaluation_report,
    summarise,
)

JOINTS = ("pelvis", "head")


def person(offset: float = 0.0, scale: float = 1.0, **others: list[float]) -> PersonErrors:
    """One step, two joints; MPJPE from 10 to 8 and PA-MPJPE from 5 to 4."""
    joints = np.array([[0.0, 20.0], [0.0, 16.0]]) * scale + offset
    measures = {"mpjpe_mm": joints.mean(1), "pa_mpjpe_mm": joints.mean(1) / 2}
    measures |= {name: np.array(errors) for name, errors in others.items()}
    return PersonErrors(1, "max_steps", measures, joints, joints / 2)


def evaluation(
    people: list[PersonErrors], schedule: str = "paper", keypoints: str = "noise 0"
) -> Evaluation:
    return summarise(
        people, joint_names=JOINTS, keypoints=keypoints, schedule=schedule, adam_rate=1e-4
    )


def report(*evaluations: Evaluation) -> EvaluationReport:
    return EvaluationReport("small", "a body", "none", "synthetic", {"seed": "7"}, evaluations)


def test_means_and_standard_errors_by_hand() -> None:
    stopped = person(scale=2)._replace(steps=0, stop_reason="converged")
    summary = evaluation([person(), stopped])
    curve = summary.measures["mpjpe_mm"]
    # 10 and 20 before, 8 and 16 after; changes of -2 and -4.
    assert curve.mean == (15, 12)
    assert curve.standard_error == pytest.approx((5, 4))
    assert curve.change_standard_error == pytest.approx((0, 1))
    assert (summary.people, summary.max_steps, summary.mean_steps) == (2, 1, 0.5)
    assert summary.stop_reasons == {"converged": 1, "max_steps": 1}


def test_joints_by_hand() -> None:
    joints = evaluation([person(), person(offset=2)]).joints
    assert list(joints) == list(JOINTS)
    head = joints["head"]
    assert (head.mpjpe_before, head.mpjpe_after) == (21, 17)
    assert (head.pa_mpjpe_before, head.pa_mpjpe_after) == (10.5, 8.5)
    assert joints["pelvis"].mpjpe_before == 1


def test_a_single_person_has_no_standard_error() -> None:
    alone = evaluation([person()])
    assert alone.measures["mpjpe_mm"].standard_error is None
    assert "| 8.0 | 4.0 |" in evaluation_table(report(alone)).splitlines()[-1]


def test_measures_that_some_people_lack_are_left_out() -> None:
    summary = evaluation([person(pve_mm=[3.0, 2.0]), person()])
    assert set(summary.measures) == {"mpjpe_mm", "pa_mpjpe_mm"}


def test_errors_of_keypoints_are_those_of_who_was_given_any() -> None:
    nan = float("nan")
    unseen = person(given_2d_percent=[nan, nan], true_2d_loss=[0.0, 0.0])
    seen = [person(given_2d_percent=[number, 2.0], true_2d_loss=[1.0, 1.0]) for number in (3, 5)]
    measures = evaluation([seen[0], unseen, seen[1]]).measures
    assert measures["given_2d_percent"].mean == (4.0, 2.0)
    assert measures["given_2d_percent"].standard_error == pytest.approx((1.0, 0.0))
    assert measures["true_2d_loss"].mean == pytest.approx((2 / 3, 2 / 3))
    assert "given_2d_percent" not in evaluation([unseen, unseen]).measures


def test_table() -> None:
    people = [person(true_2d_loss=[0.004, 0.002]), person(scale=2, true_2d_loss=[0.004, 0.002])]
    two = report(evaluation(people), evaluation(people, "eft"))
    assert evaluation_table(two).splitlines() == [
        "| keypoints | schedule | Adam's rate | steps | MPJPE, mm | PA-MPJPE, mm | 2D loss, 1e-3 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| noise 0 | none |  | 0 | 15.0 ± 5.0 | 7.5 ± 2.5 | 4.00 ± 0.00 |",
        "| noise 0 | paper | 0.0001 | 1.0 | 12.0 ± 4.0 | 6.0 ± 2.0 | 2.00 ± 0.00 |",
        "| noise 0 | eft | 0.0001 | 1.0 | 12.0 ± 4.0 | 6.0 ± 2.0 | 2.00 ± 0.00 |",
    ]


def test_each_group_of_people_has_its_row_before_adaptation() -> None:
    groups = ("noise 0", "noise 0.1")
    rows = evaluation_table(
        report(*(evaluation([person()], keypoints=name) for name in groups))
    ).splitlines()
    assert [row.split(" | ")[1] for row in rows[2:]] == ["none", "paper", "none", "paper"]


def test_table_of_every_step() -> None:
    rows = evaluation_table(report(evaluation([person()])), every_step=True).splitlines()[2:]
    assert rows == [
        "| noise 0 | paper | 0.0001 | 0 | 10.0 | 5.0 |",
        "| noise 0 | paper | 0.0001 | 1 | 8.0 | 4.0 |",
    ]


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for people in ([person()], [person(), person(offset=1 / 3)]):
        written = report(evaluation(people), evaluation(people, "eft"))
        write_json(path, asdict(written))
        assert read_evaluation_report(path) == written
    plain = json.loads(path.read_text())
    assert plain["evaluations"][1]["measures"]["mpjpe_mm"]["mean"][0] == pytest.approx(10 + 1 / 6)


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    unmeasured = report(evaluation([person(offset=float("nan"))]))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "report.json", asdict(unmeasured))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", '{"bundle": "small"}'])
def test_json_of_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r": not (JSON, damaged|the JSON of an evaluation)"):
        read_evaluation_report(path)


def test_reports_are_values() -> None:
    one = report(evaluation([person()]))
    assert one == report(evaluation([person()]))
    assert one != replace(one, bundle="another")


def test_curves_of_other_lengths_are_refused(tmp_path: Path) -> None:
    whole = report(evaluation([person()]))
    for wrong in (
        replace(whole, evaluations=()),
        replace(whole, evaluations=(replace(whole.evaluations[0], max_steps=2**63),)),
        replace(whole, evaluations=(replace(whole.evaluations[0], measures={}),)),
    ):
        write_json(tmp_path / "wrong.json", asdict(wrong))
        with pytest.raises(ValueError, match=r"wrong\.json: not the JSON of an evaluation"):
            read_evaluation_report(tmp_path / "wrong.json")
