# SPDX-License-Identifier: Apache-2.0
"""One description, one engine: what must be there as data, and what makes it so.

``elements``     of what a wiring consists, one file each
``model``        a wiring: what one VIF needs on the host
``state``        what was found on the host
``differences``  what is not as described, as values and as text
``ownership``    pure: whose a port or a link of a wanted name is
``plan``         pure: wanted and found in, the steps that lead from one to the other out
``steps``        all steps there are
``rows_first``   pure: when rows are written before links are made
``rollback``     pure: the steps that roll a failed plan back
``engine``       observe, plan, execute
``deadline``     the time that a verb may take
``errors``       why a wiring could not be applied or removed
"""
