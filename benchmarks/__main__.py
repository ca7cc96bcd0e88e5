# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks; see README.rst."""

import argparse
import time

from benchmarks import machine, plot, report
from benchmarks.cases import CASES, Plan
from benchmarks.client import HERE, ROOT
from benchmarks.results import Results

RAW = ROOT / "build" / "benchmarks" / "results.json"
_QUICK = Plan(rounds=2, sizes=(10, 200), modes=(False,), budget=20)


def main() -> None:
    """Measure, and write down what was measured."""
    given = _arguments()
    plan = _plan(given)
    found = Results(facts=machine.describe())
    for name in given.case or CASES:
        began = time.monotonic()
        CASES[name](plan, found)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    if given.quick:
        found.save(RAW.with_name("quick.json"))
        print(report.text(found))
        return
    everything = Results.load(RAW) if given.case else Results()
    everything.update(found)
    everything.save(RAW)
    report.write(everything, HERE / "README.rst")
    plot.draw(everything, HERE / "ports.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, few ports; prints and keeps README.rst"
    )
    parser.add_argument(
        "--case",
        action="append",
        choices=CASES,
        help="measure this only (may be given again) and keep the other figures",
    )
    parser.add_argument("--rounds", type=int, help="repetitions (5)")
    parser.add_argument("--ports", type=int, action="append", help="number of ports; again")
    parser.add_argument("--mode", choices=("in-process", "daemon", "both"))
    parser.add_argument("--budget", type=float, help="seconds for the rounds of one case (90)")
    return parser.parse_args()


def _plan(given: argparse.Namespace) -> Plan:
    plan = _QUICK if given.quick else Plan()
    modes = {"in-process": (False,), "daemon": (True,), "both": (False, True)}
    return Plan(
        rounds=given.rounds or plan.rounds,
        sizes=tuple(given.ports or plan.sizes),
        modes=modes.get(given.mode, plan.modes),
        budget=given.budget or plan.budget,
    )


main()
