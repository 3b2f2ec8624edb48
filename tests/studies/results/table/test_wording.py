"""Figures in words."""

from __future__ import annotations

import pytest

from studies.render import formats
from studies.results.table import wording
from studies.results.table.published import slides_table
from studies.results.table.records import Configurations, Method, Pair, Rates, Victims
from studies.statistics import Ranking, Spread, share, spread

METHOD = Method("b3d", "b3d", "c", "scores", None, ())


def test_shares_with_their_intervals() -> None:
    assert formats.right_words(share(16, 16)) == "16/16 100% (81-100)"
    assert formats.right_words(share(191, 200)) == "191/200 95.5% (92-98)"
    assert formats.share_words(share(0, 20)) == "0/20 (0-16)"
    assert formats.right_words(share(60, 60)) == "60/60 100% (94-100)"
    assert formats.percent_words(share(60, 60)) == "100 (94-100)"
    assert formats.share_words(share(10_000, 10_000)) == "10000/10000 (99.96-100.00)"
    assert formats.interval(share(0, 2000)) == "0 of 2000 (0.0 to 0.2 %)"
    assert (formats.share_words(share(0, 0)), formats.counted(share(0, 0)), formats.counted(share(2, 3))) == (
        "-",
        "-",
        "2/3",
    )


def test_the_slides_percentages_come_out_as_printed() -> None:
    told = {name: [100 * (s.rate or 0) for s in row.values()] for name, row in slides_table().items()}
    assert told == {
        "Neural Cleanse": [95.0, 100.0, 96.0],
        "TABOR": [95.5, 100.0, 95.0],
        "B3D": [97.5, 100.0, 96.0],
        "B3D-SS": [97.5, 100.0, 95.5],
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (984, "984"),
        (0.4, "0.40"),
        (12.34, "12.3"),
        (999.5, "1.00k"),
        (41_184, "41.2k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_403_032, "1.40M"),
        (2.5e10, "25.0G"),
        (None, "-"),
    ],
)
def test_amounts_have_three_digits(value: float | None, said: str) -> None:
    assert formats.amount(value) == said


def test_rankings_and_spreads() -> None:
    assert formats.ranking_words(Ranking(0.971, 0.92, 0.994, 3)) == "0.97 (0.92-0.99)"
    assert formats.ranking_words(Ranking(1.0, None, None, 0)) == "1.00"
    assert formats.ranking_words(Ranking(None, None, None, 0)) == "-"
    assert formats.spread_words(spread([1000, 3000])) == "2.00k / 3.00k"
    assert formats.spread_words(Spread(0, None, None, 0)) == "-"


def test_calls_of_one_kind_or_both() -> None:
    assert wording.rates_words(Rates(share(14, 15), share(0, 5))) == "14/15 (70-99)\n0/5 (0-43)"
    assert wording.rates_words(Rates(share(0, 0), share(1, 5))) == "1/5 (4-62)"
    assert wording.rates_words(Rates(share(0, 0), share(0, 0))) == "-"


@pytest.mark.parametrize(("p", "said"), [(1.0, "1.000"), (0.0625, "0.062"), (0.001, "0.001"), (8e-7, "8e-07")])
def test_p_values(p: float, said: str) -> None:
    pair = Pair(METHOD, METHOD, 60, 30, 26, 3, p / 2, p)
    assert (wording.p_words(pair), wording.pair_words(pair)) == (said, f"26:3\n{said}")
    assert pair.neither == 1


def test_victims_in_one_sentence() -> None:
    patches = (("1x1", 2), ("2x2", 1))
    patched = Victims(4, 1, patches, (("badnets", 3),), (("conv4", 4),), (0.701, 0.76), (0.9, 0.901))
    said = "4 victims: 3 backdoored (2 1x1, 1 2x2), 1 clean; 4 conv4; clean accuracy 70 to 76 %"
    assert wording.victims_words(patched) == f"{said}; ASR 90 %."
    clean = Victims(1, 1, (), (), (("conv4", 1),), (0.7, 0.7), None)
    assert wording.victims_words(clean) == "1 victim: 0 backdoored, 1 clean; 1 conv4; clean accuracy 70 %."
    mixed = Victims(
        3, 0, (*patches, ("warping", 1)), (("badnets", 3), ("warping", 1)), (("conv4", 4),), (0.7, 0.7), None
    )
    assert "(2 1x1, 1 2x2, 1 warping; 3 badnets, 1 warping)" in wording.victims_words(mixed)


def test_tries_in_one_sentence() -> None:
    one = "According to these result lines, 1 configuration was tried on this zoo: b3d 1."
    assert wording.tries_words(Configurations((("b3d", 1),), 1, 0)) == one
    many = "According to these result lines and 9 ledgers, 3 configurations were tried on this zoo: A 2, B 1."
    assert wording.tries_words(Configurations((("A", 2), ("B", 1)), 3, 9)) == many


def test_settings_and_lines_left_out() -> None:
    changed = tuple((name, "1") for name in "abcde")
    assert formats.changed_words(changed) == "a=1, b=1, c=1, d=1, e=1"
    assert formats.changed_words(()) == ""
    assert formats.left_out_words("report", ()) == ""
    said = "Only the split report is shown. Lines left out: 3 of split tune (use --split to show them)."
    assert formats.left_out_words("report", (("tune", 3),)) == said
