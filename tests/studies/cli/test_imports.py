"""Imports without the garbage collector: once per process, and never against whoever switched it off."""

from __future__ import annotations

import gc
import sys

import pytest

from studies.cli.imports import lasting_imports


def test_the_collector_rests_while_torch_is_imported_and_leaves_it_alone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    frozen = gc.get_freeze_count()
    try:
        with lasting_imports():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_the_collector_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    try:
        with pytest.raises(ImportError, match="no torch"), lasting_imports():
            raise ImportError("no torch")
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_where_torch_is_there_already_nothing_changes() -> None:
    import torch  # noqa: F401

    frozen = gc.get_freeze_count()
    with lasting_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_a_collector_that_is_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    gc.disable()
    try:
        with lasting_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
