# SPDX-License-Identifier: Apache-2.0
"""The database of Open vSwitch (RFC 7047).

``drivers``      chooses the way to the database that the configuration asks for
``backend``      the native way, as the engine wants it: observe, commit, wait
``connection``   a replica that callers share, transactions of many callers
``callers``      who is on the way to a commit, so that others may wait
``rows``         the columns we replicate, and rows as values of ``os_vif.wiring.state``
``operations``   pure: steps of a plan as the operations of one transaction
``python_ovs``   the replica and its session: all that relies on the inner parts of python-ovs
``messages``     JSON-RPC, parsed by the standard library
``remotes``      where a server listens, as the configuration and as python-ovs name it
``tls``          connections with credentials that are not those of the whole process
``poller``       wait for sockets, however many files the process has open
``locking``      a condition whose lock is held again after any interruption
``vsctl``        the deprecated way: a program for each transaction
``client``       privileged: that program
``api``          for other plugins: ovsdbapp's commands and transactions
``impl_idl``     ovsdbapp's commands on a connection of ours
``ovsdb_lib``    for other plugins: ports and bridges
"""
