"""The memory half of the service's benchmark: it asks the stated number of images, and the ledger has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import service


@pytest.mark.slow
@pytest.mark.process
def test_memory_is_told_for_each_tenth_of_the_images(tmp_path: Path) -> None:
    out = tmp_path / "results" / "service_memory.jsonl"
    service.main(images=10_241, out=out)
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line["charged"] == 20_480  # two calls of 128 on each of 8 connections, ten times
    assert len(line["rss_mb"]) == 10
    assert min(line["rss_mb"]) > 50
    assert line["growth_mb"] == pytest.approx(line["rss_mb"][-1] - line["rss_mb"][0], abs=0.11)
