# SPDX-License-Identifier: Apache-2.0
"""Tests under Debian's kernel, in the virtual machine of ``tests.rig.vm``.

For what no other suite can run: Open vSwitch's datapath in the kernel, and VLAN devices. Python
takes some 20 times as long there, so a test walks a whole way rather than one step.
"""
