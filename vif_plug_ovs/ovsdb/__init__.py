# SPDX-License-Identifier: Apache-2.0
"""The database of Open vSwitch (RFC 7047).

``connection``   a replica that callers share, transactions of many callers
``messages``     JSON-RPC, parsed by the standard library
``rows``         the columns we replicate, and rows as values of ``os_vif.wiring.state``
``operations``   pure: steps of a plan as the operations of one transaction
``backend``      the three put together, as the engine wants them
``vsctl``        the same by way of a program for each transaction, deprecated
``client``       privileged: that program
"""
