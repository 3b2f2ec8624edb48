"""A service by its configuration: what the file says is what the models are answered under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.service.config import ServiceConfig
from studies.service.serving import _hosts, _watched, routes
from tests.studies.service.running import MODEL


def configured(**fields: Any) -> ServiceConfig:
    models = [{"name": name, "file": MODEL, "oracle": {"decimals": 2}} for name in ("a", "b")]
    return ServiceConfig.of({"db": "p.db", "keys": "k.toml", "model": models, **fields}, Path())


def test_a_detector_watches_the_models_that_it_is_for() -> None:
    watch = {"detector": "blacklight", "action": "ban", "models": ["a"], "settings": {"threshold": 20.0}}
    config = configured(watch=[watch])
    watched, other = (_watched(entry, config) for entry in config.model)
    assert watched.oracle.watch is not None
    assert (watched.oracle.watch.detector, watched.oracle.watch.action) == ("blacklight", "ban")
    assert (watched.oracle.watch.threshold, watched.oracle.decimals) == (20.0, 2)
    assert (other, other.oracle.watch) == (config.model[1], None)
    everywhere = configured(watch=[{"detector": "prada"}])
    assert all(_watched(entry, everywhere).oracle.watch is not None for entry in everywhere.model)


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ([{"detector": "prada"}, {"detector": "piha", "models": ["a"]}], "two detectors"),
        ([{"detector": "nothing"}], "watch: detector"),
        ([{"detector": "piha", "action": "slow"}], "needs seconds"),
        ([{"detector": "piha", "settings": {"size": 3}}], "size"),
    ],
)
def test_a_detector_that_does_not_fit_is_refused(watch: list[dict[str, Any]], words: str) -> None:
    config = configured(watch=watch)
    with pytest.raises(ConfigError, match=words):
        _watched(config.model[0], config)


def test_hosts_that_requests_may_name() -> None:
    config = configured(listen="0.0.0.0:1", behind_proxy=True, hosts=["models.example"])
    assert {"models.example", "0.0.0.0", "127.0.0.1", "localhost"} <= set(_hosts(config))


def test_each_format_has_a_route() -> None:
    assert ("oip", "/v2/models/{model}/infer") in routes()
    assert len(routes()) == 6
