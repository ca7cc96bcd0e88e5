# SPDX-License-Identifier: Apache-2.0
"""iptables: the one place that reads and writes its rules.

:func:`ensure`, :func:`remove` and :func:`bridges` run inside the privileged daemon. They start
``iptables-save`` and ``iptables-restore`` (and ``ip6tables-...``), of whichever backend the host
has, and leave all thinking to :mod:`vif_plug_linux_bridge.forwarding_rules`.
"""

import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from oslo_log import log as logging

from os_vif.exception import ExceptionBase
from os_vif.kernel import programs
from os_vif.locks import KeyedLocks
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.errors import DeadlineExceeded, WiringError
from vif_plug_linux_bridge import forwarding_rules
from vif_plug_linux_bridge.forwarding_rules import Filtering, UnreadableRules

LOG = logging.getLogger(__name__)

#: Seconds in which rules are rolled back although the deadline has come.
ROLLBACK_SECONDS = 0.5
#: How often rules are written that turn out to be other ones afterwards.
ATTEMPTS = 3

IPV4, IPV6 = "iptables", "ip6tables"

#: One thread of a process at a time; what other processes do, the rules themselves tell.
_LOCKS = KeyedLocks()

Plan = Callable[[str], str | None]


class CommandFailed(WiringError):
    """A program of iptables did not do what it was asked.

    :param command: the program and its arguments.
    :param code: its exit code; None if it was not started.
    :param stderr: what it said.
    """

    code = "refused"
    msg_fmt = "%(command)s failed (exit code %(code)s): %(stderr)s"


class RulesNotKept(WiringError):
    """Rules were written, and others were there afterwards, again and again.

    :param remaining: what is still to be written.
    """

    code = "host_changed"
    msg_fmt = "Others keep changing the rules of %(command)s; not done: %(remaining)s"


# What the plugin uses ----------------------------------------------------------------------------


def ensure(wanted: Filtering, deadline: Deadline) -> bool:
    """Make sure that the rules of a bridge are as described, in both families or in none.

    :returns: whether anything was written.
    :raises CommandFailed: iptables refused; IPv4 and IPv6 are as they were.
    :raises DeadlineExceeded: it did not happen in time. The rules were rolled back, unless that
        could not be done within half a second either; the same call again settles it.
    """
    before: dict[str, str] = {}
    wrote = False
    with _LOCKS.hold({IPV4}, deadline, "iptables"):
        try:
            for program in _programs(wanted):
                before[program] = save(program, deadline)
                wrote |= write(program, _plan(wanted), deadline, before[program])
        except ExceptionBase:
            _roll_back(before, wanted.bridge, deadline.at_least(ROLLBACK_SECONDS))
            raise
    return wrote


def missing(wanted: Filtering, deadline: Deadline) -> tuple[str, ...]:
    """Return the programs in whose tables the rules of a bridge are not as described.

    :raises CommandFailed: iptables refused to show its rules.
    :raises DeadlineExceeded: it did not happen in time.
    """
    plan = _plan(wanted)
    return tuple(name for name in _programs(wanted) if plan(save(name, deadline)) is not None)


def _programs(wanted: Filtering) -> tuple[str, ...]:
    return (IPV4, IPV6) if wanted.use_ipv6 else (IPV4,)


def _plan(wanted: Filtering) -> Plan:
    return partial(
        forwarding_rules.merge,
        bridge=wanted.bridge,
        rules=wanted.rules,
        iptables_top_regex=wanted.iptables_top_regex,
        iptables_bottom_regex=wanted.iptables_bottom_regex,
    )


def remove(bridge: str, deadline: Deadline) -> bool:
    """Remove the rules of a bridge in both families.

    :returns: whether there were any.
    :raises CommandFailed: iptables refused.
    :raises DeadlineExceeded: it did not happen in time.
    """
    plan = partial(forwarding_rules.merge, bridge=bridge, rules=())
    wrote = False
    with _LOCKS.hold({IPV4}, deadline, "iptables"):
        for program, saved in _saved(deadline):
            wrote |= write(program, plan, deadline, saved)
    return wrote


def bridges(deadline: Deadline) -> tuple[str, ...]:
    """Return the bridges that have rules of ours in either family; none where there is no
    iptables.

    :raises CommandFailed: iptables refused to show its rules.
    :raises DeadlineExceeded: it did not happen in time.
    """
    if programs.path(f"{IPV4}-save") is None:
        return ()
    found = (forwarding_rules.bridges(text) for _, text in _saved(deadline))
    return tuple(sorted({bridge for names in found for bridge in names}))


def _saved(deadline: Deadline) -> Iterable[tuple[str, str]]:
    """Return the rules of both families, of IPv6 only if they can be read: a host without them is
    as good as one that has none of ours."""
    yield IPV4, save(IPV4, deadline)
    try:
        six = save(IPV6, deadline)
        forwarding_rules.parse(six)
    except (CommandFailed, UnreadableRules) as err:
        LOG.debug("Leaving out IPv6: %s", err)
    else:
        yield IPV6, six


def write(program: str, plan: Plan, deadline: Deadline, saved: str) -> bool:
    """Plan, write and look again, until there is nothing to write.

    :param program: ``iptables`` or ``ip6tables``.
    :param saved: what iptables-save has said.
    :returns: whether anything was written.
    """
    written, refused = 0, ""
    why: CommandFailed | None = None
    while (text := plan(saved)) is not None:
        if written == ATTEMPTS:
            raise RulesNotKept(command=program, remaining=" ".join(text.splitlines()))
        try:
            restore(program, text, deadline)
            written += 1
        except CommandFailed as err:
            if text == refused:  # nobody else has written meanwhile: it is the text
                raise
            refused, why = text, err
        except DeadlineExceeded as err:
            if why:  # such as that another program holds the lock of the legacy backend
                raise why from err
            raise
        saved = save(program, deadline)
    return written > 0


def _roll_back(before: dict[str, str], bridge: str, deadline: Deadline) -> None:
    for program, saved in before.items():
        rules = forwarding_rules.rules_of(saved, bridge)
        try:
            plan = partial(forwarding_rules.merge, bridge=bridge, rules=rules)
            write(program, plan, deadline, save(program, deadline))
        except ExceptionBase as err:
            LOG.warning("The rules (%s) of %s were not rolled back: %s", program, bridge, err)


# The programs ------------------------------------------------------------------------------------


def save(program: str, deadline: Deadline) -> str:
    """Return what iptables-save prints of the table ``filter``; see :func:`call`."""
    return call([f"{program}-save", "-t", "filter"], "", deadline)


def restore(program: str, text: str, deadline: Deadline) -> None:
    """Run iptables-restore, and leave all else as it is; see :func:`call`."""
    wait = f"--wait={max(1, int(deadline.remaining()))}"  # for the lock of the legacy backend
    LOG.debug("%s-restore: %s", program, text)
    call([f"{program}-restore", "--noflush", wait], text, deadline)


def call(argv: Sequence[str], text: str, deadline: Deadline) -> str:
    """Run a program; return what it printed.

    :raises CommandFailed: it could not be started, or ended with an error.
    :raises DeadlineExceeded: it was killed at the deadline, or not even started then.
    """
    command = " ".join(argv)
    if deadline.expired:  # started, it might be faster than we are at killing it
        raise DeadlineExceeded(seconds=deadline.elapsed(), what=f"{command} was not started")
    try:
        code, out, err = programs.run(
            argv, deadline.remaining(), text.encode(errors="surrogateescape")
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(seconds=deadline.elapsed(), what=f"{command} was killed") from None
    except OSError as failure:
        raise CommandFailed(command=command, code=None, stderr=str(failure)) from None
    if code:
        said = " ".join(err.decode(errors="replace").split())
        raise CommandFailed(command=command, code=code, stderr=said)
    return out.decode(errors="surrogateescape")
