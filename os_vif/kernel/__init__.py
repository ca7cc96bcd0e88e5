# SPDX-License-Identifier: Apache-2.0
"""The kernel's links and sysctls, and the only package that speaks netlink.

``observe``  read links; no privilege needed
``sysfs``    read-only facts about PCI functions and switch ports
``execute``  change links; runs inside a plugin's privileged daemon
``tap``      how a tap is made
``sysctl``   the per-device sysctls that count as attributes of a link
``backend``  the first two as the engine wants them
``gate``     keeps callers of pyroute2 apart
``steps``    how steps travel to the daemon, and its own check of them
"""
