# SPDX-License-Identifier: Apache-2.0
"""The database of Open vSwitch (RFC 7047).

``connection``   one thread that keeps a replica, transactions of many callers
``rows``         the columns we replicate, and rows as values of ``os_vif.wiring.state``
``operations``   pure: steps of a plan as the operations of one transaction
``backend``      the three put together, as the engine wants them
"""
