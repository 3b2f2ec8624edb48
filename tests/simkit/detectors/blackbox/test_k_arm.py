"""The pre-screen: a class behind all others is flagged, and what it costs and needs to say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Labels, Scores, TopK
from oracles.budget import Budget
from oracles.meter import MemoryRecorder, Metered, Recorded
from oracles.oracle import Oracle, Tag
from oracles.restrict import KeepTopK, LabelOnly, Rounded
from simkit.data import ImageSet
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.k_arm import KArm, score_matrix
from simkit.errors import ConfigError, DataError
from simkit.verdict import Verdict
from studies.scan import detect
from tests.fakes import NotANumberOracle, PlantedOracle, planted_images
from tests.studies.scans import IMAGES as SCANNED
from tests.studies.scans import TemplateNet

IMAGES = planted_images(64)
TARGET = 2


class Leaning(PlantedOracle):
    """Whatever an image is, the target class comes second, on a `share` of the images in their order."""

    def __init__(self, share: float = 1.0, n_classes: int = 4) -> None:
        super().__init__(n_classes)
        self._share, self._asked = share, 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        answer = super().query(images, tag)
        assert isinstance(answer, Scores)
        rows = np.arange(self._asked, self._asked + len(images))
        self._asked += len(images)
        values = 0.4 * answer.values
        values[np.floor((rows + 1) * self._share) > np.floor(rows * self._share), TARGET] += 0.35
        return Scores(values / values.sum(axis=1, keepdims=True))


def verdict_on(oracle: Oracle, images: ImageSet = IMAGES, detector: KArm | None = None) -> Verdict:
    return (detector or KArm()).detect(QueryDataAccess(oracle, images))


def test_a_class_behind_all_others_is_flagged() -> None:
    verdict = verdict_on(Leaning())
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("backdoored", "decided", (TARGET,))
    assert (verdict.score, verdict.classes, verdict.clean_accuracy) == (1.0, (), 1.0)


def test_a_clean_victim_is_clean_and_its_score_lower() -> None:
    verdict = verdict_on(PlantedOracle())
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("clean", "converged", ())
    assert verdict.score is not None
    assert verdict.score < 0.8


@pytest.mark.parametrize(("share", "flagged"), [(0.9, ()), (0.98, (TARGET,))])
def test_the_share_decides(share: float, flagged: tuple[int, ...]) -> None:
    verdict = verdict_on(Leaning(share), planted_images(400))
    assert verdict.flagged == flagged
    assert verdict.score is not None
    assert share - 0.02 < verdict.score <= 1.0


@pytest.mark.parametrize(("n_classes", "counted"), [(3, 2), (8, 2), (9, 2), (10, 2), (12, 3), (43, 10)])
def test_how_many_classes_count(n_classes: int, counted: int) -> None:
    assert KArm().counted(n_classes) == counted


def test_without_labels_the_answers_are_the_classes() -> None:
    loose = ImageSet.unlabelled(IMAGES.pixels, "loose")
    verdict = verdict_on(Leaning(), loose)
    assert (verdict.flagged, verdict.score, verdict.clean_accuracy) == ((TARGET,), 1.0, None)


def test_the_two_best_classes_tell_as_much_as_scores() -> None:
    observed = [verdict_on(oracle) for oracle in (Leaning(), KeepTopK(Leaning(), 2), Rounded(Leaning(), 2))]
    assert {(v.verdict, v.flagged, v.score) for v in observed} == {("backdoored", (TARGET,), 1.0)}


@pytest.mark.parametrize("restricted", [LabelOnly, lambda oracle: KeepTopK(oracle, 1)])
def test_of_labels_alone_one_query_is_enough_to_give_up(restricted: Any) -> None:
    victim = Leaning()
    verdict = verdict_on(restricted(victim))
    assert (verdict.verdict, verdict.score, victim.images_seen) == ("undecided", None, 1)
    assert "use scores or top-k" in verdict.notes


def test_fewer_classes_than_count_may_flag_but_never_clear() -> None:
    images, three = planted_images(72, 12), KArm(gamma=0.5)
    assert verdict_on(KeepTopK(Leaning(n_classes=12), 3), images, three).flagged == (TARGET,)
    verdict = verdict_on(KeepTopK(PlantedOracle(12), 3), images, three)
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "converged", ())
    assert verdict.notes.startswith("the service answers 3 classes, but 6 are needed")
    assert verdict_on(PlantedOracle(12), images, three).verdict == "clean"


def test_pairs_are_told_and_not_flagged() -> None:
    class Alike(PlantedOracle):
        """Images of class 0 always look like class 3, too."""

        def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
            answer = super().query(images, tag)
            assert isinstance(answer, Scores)
            values = 0.4 * answer.values + np.where(answer.values[:, :1] > 0.5, [0.0, 0.0, 0.0, 0.35], 0.0)
            return Scores((values / values.sum(axis=1, keepdims=True)).astype(np.float32))

    verdict = verdict_on(Alike())
    assert (verdict.verdict, verdict.flagged) == ("clean", ())
    assert "first class 3 near the top of 100% of the images of class 0" in verdict.notes


def test_its_cost_is_one_query_an_image() -> None:
    recorder, budget = MemoryRecorder(), Budget(64)
    oracle = Recorded(Metered(Leaning(), budget), recorder)
    assert KArm().detect(QueryDataAccess(oracle, IMAGES, 64, recorder)).verdict == "backdoored"
    assert [purpose for _, purpose, _ in recorder.steps] == ["check", "check"]
    assert np.concatenate([call.rows for call in recorder.calls])[:, 0].tolist() == list(range(64))
    assert budget.remaining == 0


def test_a_known_limit_is_not_begun_and_running_out_is_undecided() -> None:
    victim = Leaning()
    verdict = KArm().detect(QueryDataAccess(victim, IMAGES, limit=63))
    assert (verdict.verdict, verdict.stopped, victim.images_seen) == ("undecided", "budget", 0)
    verdict = verdict_on(Metered(Leaning(), Budget(63)))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "budget", ())


def test_a_model_that_guesses_or_answers_nan_is_invalid() -> None:
    wrong = IMAGES.with_labels(((IMAGES.labels + 1) % 4).astype(np.int32), 4)
    assert verdict_on(PlantedOracle(), wrong).verdict == "invalid"
    assert verdict_on(NotANumberOracle()).verdict == "invalid"


def test_bad_input_costs_nothing() -> None:
    three, two = PlantedOracle(3), PlantedOracle(2)
    with pytest.raises(DataError, match="label 3, but the model has 3 classes"):
        verdict_on(three)
    with pytest.raises(ConfigError, match="the top 2 of 2 classes are all classes"):
        verdict_on(two, planted_images(8, 2))
    assert three.images_seen == two.images_seen == 0


def test_in_a_ledger_it_is_a_verdict_as_any_other() -> None:
    settings: dict[str, Any] = {"search_images": 32, "verify_images": 32, "budget": 100}
    result = detect(KArm(), TemplateNet(), images=SCANNED, **settings)
    assert (result.verdict, result.rule, result.spent) == ("clean", "KArm", 64)


def test_answers_as_a_matrix_of_scores() -> None:
    scores = Scores(np.array([[0.5, 0.3, 0.2]], np.float32))
    assert score_matrix(scores) is scores.values
    top = TopK(np.array([[2, 0], [1, -1]], np.int32), np.array([[0.6, 0.3], [0.9, 0.0]], np.float32), 3)
    np.testing.assert_allclose(score_matrix(top), [[0.3, 0.0, 0.6], [0.0, 0.9, 0.0]], rtol=1e-6)
    assert score_matrix(Labels(np.array([1, -1], np.int32), 3)).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("settings", [{"gamma": 0.0}, {"theta": 1.1}, {"pair_theta": float("nan")}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        KArm(**settings)


def test_a_class_that_every_image_is_of_cannot_be_cleared() -> None:
    every = IMAGES.labels == 1
    same = IMAGES.take(np.flatnonzero(every))
    verdict = verdict_on(PlantedOracle(), same)
    assert (verdict.verdict, verdict.flagged) == ("undecided", ())
    assert "all images are of class 1, which cannot be flagged" in verdict.notes
