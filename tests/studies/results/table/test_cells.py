"""The figures of one method, of two, and of groups of victims, on lines that can be counted by hand."""

from __future__ import annotations

from studies.results.table.cells import breakdown, cell, pair, pairs
from studies.results.table.records import Key, Method
from studies.statistics import share
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import config, line, lines

FIRST, SECOND = (Method(name, name, "c", "scores", 300_000, ()) for name in ("first", "second"))


def both(first: list[ResultLine], second: list[ResultLine]) -> dict[Key, list[ResultLine]]:
    return {FIRST.key: first, SECOND.key: second}


def test_undecided_and_invalid_are_wrong_and_accuse_nobody() -> None:
    found = cell(FIRST, lines("cbbuuicb"))  # clean victims: c b u c, backdoored ones: b u i b
    assert (found.right, found.scans) == (share(4, 8), 8)
    assert (found.rates.caught, found.rates.accused) == (share(2, 4), share(1, 4))
    assert (found.undecided, found.invalid) == (share(2, 8), share(1, 8))


def test_targets_are_of_the_victims_caught() -> None:
    caught = [line(i, "backdoored", flagged=flagged) for i, flagged in ((1, (1,)), (3, (1, 4)), (5, (4,)))]
    several = line(7, "backdoored", target_classes=(1, 2), flagged=(1, 2))
    found = cell(FIRST, [*caught, several, line(9, "clean"), line(0, "backdoored")])
    assert (found.target, found.only_target) == (share(3, 4), share(2, 4))


def test_costs_by_truth() -> None:
    found = cell(FIRST, lines("cbcb", image_queries=10))
    assert (found.queries.backdoored.median, found.queries.clean.median) == (3000, 2000)
    assert (found.queries.all.p90, found.queries.all.total) == (4000, 10_000)
    assert (found.image_queries, found.forward, found.seconds.median) == (40, None, 2.0)
    white = cell(FIRST, lines("cb", forward_passes=30, backward_passes=20))
    assert white.forward is not None
    assert white.backward is not None
    assert (white.forward.all.total, white.backward.clean.median) == (60, 20)


def test_scores_rank_where_there_is_a_verdict() -> None:
    found = cell(FIRST, [line(0, score=0.5), line(1, "undecided", score=0.7), line(3, "invalid", score=None)])
    assert (found.ranking.auroc, found.ranking.unscored) == (0.5, 1)
    assert cell(FIRST, [line(0, score=0.5), line(1, score=0.7), line(3, score=0.6)]).ranking.auroc == 1.0
    assert cell(FIRST, [line(0, score=0.5), line(1, "undecided", score=0.7)]).ranking.auroc == 0.5


def test_image_sets_are_counted() -> None:
    assert cell(FIRST, [line(0), line(1), line(3, data_hash="others")]).image_sets == 2


def test_images_drawn_for_each_victim_are_no_remark() -> None:
    drawn = [line(i, data_hash=str(i), seed=7 + i, config={"seed": "0, by victim"}) for i in range(3)]
    assert cell(FIRST, drawn).image_sets == 0


def test_a_pair_is_of_the_common_victims() -> None:
    first, second = lines("cbcbcb"), lines("bbbccc")[:5]  # right: 6 of 6, and victims 1 and 4 of 5
    found = pair(FIRST, SECOND, both(first, second[::-1]))
    assert found is not None
    assert (found.victims, found.both, found.only_first, found.only_second, found.neither) == (5, 2, 3, 0, 0)
    assert found.p == 0.25
    turned = pair(SECOND, FIRST, both(first, second))
    assert turned is not None
    assert (turned.only_first, turned.only_second, turned.p) == (0, 3, 0.25)


def test_pairs_are_adjusted_for_their_number_by_holm() -> None:
    third = Method("third", "third", "c", "scores", 300_000, ())
    told = {FIRST.key: lines("cb" * 5), SECOND.key: lines("cc" * 5), third.key: lines("bc" * 5)}
    found = pairs([FIRST, SECOND, third], told)
    assert [(p.only_first, p.only_second) for p in found] == [(5, 0), (10, 0), (5, 0)]
    assert [p.p for p in found] == [0.0625, 2 / 1024, 0.0625]
    assert [p.adjusted for p in found] == [0.125, 6 / 1024, 0.125]
    assert pairs([FIRST], told) == ()


def test_victims_are_the_same_by_their_weights() -> None:
    assert pair(FIRST, SECOND, both(lines("cb"), [line(0, model_hash="another")])) is None
    assert pair(FIRST, SECOND, both(lines("uu"), lines("uu"))).neither == 2  # type: ignore[union-attr]


def test_groups_stand_in_order_and_clean_victims_last() -> None:
    sizes = [line(i, "backdoored", stratum=size) for i, size in ((1, "10x10"), (3, "3x3"), (5, "blended"), (7, "3x3"))]
    found = breakdown("size", [FIRST, SECOND], both([*sizes, line(0, "backdoored")], [line(2, "clean")]))
    assert found.groups == ("3x3", "10x10", "blended", "clean")
    first, second = found.rows
    assert [rates.caught.hits for rates in first.rates] == [2, 1, 1, 0]
    assert first.rates[3].accused == share(1, 1)
    assert [rates.caught.trials for rates in second.rates] == [0, 0, 0, 0]
    assert second.rates[3].accused == share(0, 1)


def test_by_attack_and_architecture() -> None:
    told = both([*lines("cbcb"), line(5, "clean", attack="warping")], [])
    attacks = breakdown("attack", [FIRST], told)
    assert attacks.groups == ("badnets", "warping", "clean")
    assert [rates.caught for rates in attacks.rows[0].rates] == [share(2, 2), share(0, 1), share(0, 0)]
    nets = breakdown("architecture", [FIRST], told)
    assert nets.groups == ("conv4", "flat")
    assert [(c.caught.trials, c.accused.trials) for c in nets.rows[0].rates] == [(2, 1), (1, 1)]


def test_the_scores_of_stages_are_on_no_one_scale() -> None:
    staged = config() | {"stages": [{"search": {}}]}
    told = [line(0, "clean", score=2.4, config=staged), line(1, "backdoored", score=0.9, config=staged)]
    told += [line(2, "clean", score=0.1, config=staged), line(3, "clean", score=0.3, config=staged)]
    assert cell(FIRST, told).ranking.auroc == 0.75
    plain = [one.model_copy(update={"config": config()}) for one in told]
    assert cell(FIRST, plain).ranking.auroc == 0.5
