# SPDX-License-Identifier: Apache-2.0
"""What users of the released library rely on; the facts in ``facts/`` were generated from it."""

import json
from pathlib import Path
from typing import Any


def facts(name: str) -> dict[str, Any]:
    """Read ``facts/<name>.json``."""
    path = Path(__file__).parent / "facts" / f"{name}.json"
    facts: dict[str, Any] = json.loads(path.read_text())
    return facts
