# SPDX-License-Identifier: Apache-2.0
"""Side by side with the released os-vif: what plugging costs, against what it has to cost.

``python -m benchmarks`` runs it (in private namespaces: ``tox run -e bench``). One process per
library stays alive and is driven over a pipe; both get the same versioned objects and are called
through their public functions, in turns. A third process makes the same change with bare
python-ovs and pyroute2: the floor.
"""
