# SPDX-License-Identifier: Apache-2.0
"""``python -m os_vif_start`` is the program os-vif, for where that is not in the path."""

import sys

from os_vif_start import main

sys.exit(main())
