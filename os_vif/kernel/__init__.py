# SPDX-License-Identifier: Apache-2.0
"""The kernel's links and sysctls, and the only package that speaks netlink.

``observe``  read links; no privilege needed
``execute``  change links; runs inside a plugin's privileged daemon
``sysctl``   the per-device sysctls that count as attributes of a link
``backend``  the first two as the engine wants them
``gate``     keeps callers of pyroute2 apart
``steps``    how steps travel to the daemon, and its own check of them
"""
