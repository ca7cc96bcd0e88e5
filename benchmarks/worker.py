# SPDX-License-Identifier: Apache-2.0
"""One library in a process of its own, driven by JSON lines on stdin, answered on stdout.

A script for either environment: ``python -P worker.py``. It uses os-vif's public functions only,
so that it is the same program for the release and for its successor.
"""

import cProfile
import json
import os
import pstats
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_DEPENDENCIES = ("ovs", "ovsdbapp", "oslo.privsep", "oslo.versionedobjects", "pyroute2")


class OsVif:
    """What can be asked of os-vif: the methods without an underscore."""

    def start(self, config: str, daemon: bool) -> Json:
        """Import and initialize the library, and say how long that took.

        :param config: a configuration file.
        :param daemon: whether what is privileged is done by oslo.privsep's daemon.
        """
        import oslo_versionedobjects.base
        import oslo_versionedobjects.fields  # noqa: F401
        from oslo_config import cfg

        cfg.CONF([], project="benchmark", default_config_files=[config], default_config_dirs=[])
        began = time.perf_counter()
        import os_vif

        os_vif.initialize()
        took = time.perf_counter() - began
        self._library, self._set = os_vif, cfg.CONF.set_override
        if not daemon:
            from vif_plug_ovs import privsep

            privsep.vif_plug.set_client_mode(False)
        return {
            "seconds": took,
            "versions": {name: metadata.version(name) for name in _DEPENDENCIES},
        }

    def configure(self, options: Json) -> None:
        """Set options of ``[os_vif_ovs]``."""
        for name, value in options.items():
            self._set(name, value, group="os_vif_ovs")

    def each(self, verb: str, pairs: list[list[Json]]) -> list[float]:
        """Plug or unplug VIFs one after the other; how long each took."""
        act = getattr(self._library, verb)
        return [_timed(act, *pair) for pair in self._objects(pairs)]

    def together(self, verb: str, pairs: list[list[Json]], threads: int) -> float:
        """Plug or unplug VIFs from several threads, each its share; how long all took."""
        act = getattr(self._library, verb)
        ready = self._objects(pairs)
        shares = [ready[number::threads] for number in range(threads)]

        def work(share: Sequence[Any]) -> None:
            for pair in share:
                act(*pair)

        with ThreadPoolExecutor(threads) as pool:
            return _timed(lambda: list(pool.map(work, shares)))

    def all(self, verb: str, pairs: list[list[Json]]) -> float | None:
        """Plug or unplug VIFs in one call, if the library has one; how long it took."""
        act = getattr(self._library, f"{verb}_all", None)
        if act is None:
            return None
        ready = [tuple(pair) for pair in self._objects(pairs)]
        began = time.perf_counter()
        results = act(ready)
        took = time.perf_counter() - began
        for result in results:
            if result.error:
                raise result.error
        return took

    def resident(self) -> int:
        """Resident memory, in bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def cpu(self) -> float:
        """Seconds of CPU that this process has used, all threads included."""
        return time.process_time()

    def profile(self, verb: str, pairs: list[list[Json]]) -> Json:
        """Plug or unplug under cProfile, this thread and those that it starts.

        :returns: seconds of the caller, and the functions of all threads: file, name, their own
            and their cumulative seconds.
        """
        ready = self._objects(pairs)
        act = getattr(self._library, verb)
        others: list[cProfile.Profile] = []
        threading.setprofile(lambda *_: _profile_this_thread(others))
        mine = cProfile.Profile()
        began = time.perf_counter()
        mine.enable()
        for pair in ready:
            act(*pair)
        mine.disable()
        took = time.perf_counter() - began
        threading.setprofile(None)
        return {
            "seconds": took,
            "caller": _lines(mine),
            "threads": list(chain(*map(_lines, others))),
        }

    def _objects(self, pairs: list[list[Json]]) -> list[list[Any]]:
        from os_vif.objects import base

        read = base.VersionedObject.obj_from_primitive
        return [[read(primitive) for primitive in pair] for pair in pairs]


def _timed(act: Callable[..., object], *args: Any) -> float:
    began = time.perf_counter()
    act(*args)
    return time.perf_counter() - began


def _profile_this_thread(profiles: list[cProfile.Profile]) -> None:
    # The interpreter calls this at the first event in a new thread; a profiler then replaces it.
    profiles.append(cProfile.Profile())
    profiles[-1].enable()


def _lines(profile: cProfile.Profile) -> list[Any]:
    found: Any = pstats.Stats(profile)
    return [
        [file, name, own, cumulative]
        for (file, _, name), (_, _, own, cumulative, _) in found.stats.items()
    ]


def serve(target: object) -> None:
    """Do what stdin says until it ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            value = getattr(target, order.pop("do"))(**order)
            answer: Json = {"value": value}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(OsVif())
