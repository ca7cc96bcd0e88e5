# SPDX-License-Identifier: Apache-2.0
"""The program in this process, which it leaves as it found it."""

import logging
from collections.abc import Iterator

import pytest
from oslo_config import cfg

import os_vif


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(os_vif, "_plugins", None)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [*root.handlers])
    monkeypatch.setattr(root, "level", root.level)
    yield
    cfg.CONF.reset()
