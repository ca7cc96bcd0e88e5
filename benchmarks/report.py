# SPDX-License-Identifier: Apache-2.0
"""The results as reStructuredText, into README.rst."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.client import FLOOR, OURS, PEER
from benchmarks.results import Case, Results, Target

BEGIN, END = ".. generated from here", ".. generated up to here"
_MODES = {False: "in this process", True: "daemon"}


def write(found: Results, readme: Path) -> None:
    """Replace what is between the markers."""
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n\n{text(found)}\n{END}{after}")


def text(found: Results) -> str:
    """All tables."""
    return "\n".join([*_machine(found), *_targets(found), *_verbs(found), *_others(found),
                      *_configurations(found), *_profiles(found)])  # fmt: skip


def _machine(found: Results) -> Iterator[str]:
    facts = found.facts
    yield (
        f"Measured on {facts['date']} beside {facts['peer']}: {facts['CPU']}, {facts['cores']} "
        f"cores, {facts['memory']}, Linux {facts['kernel']}, Python {facts['Python']}, "
        f"Open vSwitch {facts['Open vSwitch']}; load before the start {facts['load']:.1f}."
    )
    if len(versions := facts.get("versions", {})) == 2:
        yield ", ".join(f"{name} {number}" for name, number in versions[PEER].items()) + (
            " in both environments."
            if versions[PEER] == versions[OURS]
            else f" in the peer's environment; ours: {versions[OURS]}."
        )
    yield "Medians; *n* is the number of values, ours first. Times in ms.\n"


def _targets(found: Results) -> Iterator[str]:
    rows = [row for target in results.targets() if (row := _target(found, target))]
    if rows:
        header = ("case", "ports", "ours", "other", "ratio", "at most", "", "floor / peer", "n")
        yield from _table("Targets", header, rows)


def _target(found: Results, target: Target) -> Sequence[str] | None:
    case, ratio = target.case, found.ratio(target.case, target.against)
    if ratio is None:
        return None
    other = f"{_number(found.median(case, target.against))} ({target.against})"
    met = "met" if ratio <= target.ratio else "**missed**"
    return (
        f"{case.name} [MiB]" if case.unit == "MiB" else case.name,
        str(case.ports),
        _number(found.median(case, OURS)),
        other,
        f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}",
        f"{target.ratio:.2f}",
        met,
        _number(_bound(found, case)),
        _counts(found, case, OURS, target.against),
    )


def _bound(found: Results, case: Case) -> float | None:
    """The ratio that the floor would have."""
    floor, peer = found.median(case, FLOOR), found.median(case, PEER)
    return None if floor is None or not peer else floor / peer


def _verbs(found: Results) -> Iterator[str]:
    for daemon, mode in _MODES.items():
        cases = [
            results.verb(verb, kind, ports, daemon)
            for kind in results.KINDS
            for verb in results.VERBS
            for ports in _sizes(found)
        ]
        rows = [_full(found, case) for case in cases if case in found.figures]
        if rows:
            header = ("case", "ports", "ours", "peer", "floor", "to peer", "to floor", "n")
            title = f"Verbs, privileged side: {mode}"
            yield from _table(title, header, rows)


def _sizes(found: Results) -> list[int]:
    return sorted({case.ports for case in found.figures})


def _full(found: Results, case: Case) -> Sequence[str]:
    figures = [_number(found.median(case, who)) for who in (OURS, PEER, FLOOR)]
    ratios = [_number(found.ratio(case, who)) for who in (PEER, FLOOR)]
    return case.name, str(case.ports), *figures, *ratios, _counts(found, case, OURS, PEER)


def _others(found: Results) -> Iterator[str]:
    verbs = {f"{verb} {kind}" for verb in results.VERBS for kind in results.KINDS}
    rows = [
        (
            f"{case.name} [{case.unit}]",
            str(case.ports),
            _MODES[case.daemon],
            _number(found.median(case, OURS)),
            _number(found.median(case, PEER)),
            _number(found.ratio(case)),
            _counts(found, case, OURS, PEER),
        )
        for case in found.figures
        if case.name not in verbs
    ]
    if rows:
        header = ("case", "ports", "privileged side", "ours", "peer", "ratio", "n")
        yield from _table("Everything else", header, rows)


def _configurations(found: Results) -> Iterator[str]:
    """How many reconfigurations of vswitchd each verb asks for, and how many it causes."""
    rows = [
        (case, *(whose.get(who, "-") for who in (OURS, PEER, FLOOR)))
        for case, whose in found.facts.get("configurations", {}).items()
    ]
    if rows:
        title = "Times that next_cfg was incremented / that vswitchd reconfigured itself"
        yield from _table(title, ("case", "ours", "peer", "floor"), rows)


def _profiles(found: Results) -> Iterator[str]:
    profiles = dict(found.facts.get("profiles", {}))
    for what in sorted({what for what, _ in map(_split, profiles)}):
        columns = {
            of: profiles[f"{what}: {of}"] for one, of in map(_split, profiles) if one == what
        }
        rows = [
            (part, *(_share(parts, part) for parts in columns.values()))
            for part in next(iter(columns.values()))
        ]
        total = ("all", *(f"{sum(parts.values()):.1f}" for parts in columns.values()))
        yield from _table(f"Ours, {what}, in ms", ("part", *columns), [*rows, total])


def _split(name: str) -> tuple[str, str]:
    what, _, of = name.partition(": ")
    return what, of


def _share(parts: dict[str, float], part: str) -> str:
    share = parts[part] / sum(parts.values())
    return f"{parts[part]:.1f} ({share:.0%})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _counts(found: Results, case: Case, *whose: str) -> str:
    counts = [len(found.figures[case].get(who, ())) for who in whose]
    return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f".. csv-table:: {title}"
    yield "   :header-rows: 1\n"
    for row in [header, *rows]:
        yield "   " + ", ".join(f'"{cell}"' if "," in cell or not cell else cell for cell in row)
    yield ""
