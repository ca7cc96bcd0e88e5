# SPDX-License-Identifier: Apache-2.0
"""One description, one engine: what must be there as data, and what makes it so.

``model``   the elements of which a wiring is drawn
``state``   what was found on the host
``plan``    pure: wanted and found in, the steps that lead from one to the other out
``engine``  observe, plan, execute
``report``  wirings and differences as text
"""
