# SPDX-License-Identifier: Apache-2.0
"""One description, one engine: what must be there as data, and what makes it so.

``model``      the elements of which a wiring is drawn
``state``      what was found on the host
``compare``    pure: how what was found differs from what is wanted
``ownership``  pure: whose a port or a link of a wanted name is
``plan``       pure: wanted and found in, the steps that lead from one to the other out
``steps``      those steps, as values
``rollback``   pure: the steps that roll a failed plan back
``engine``     observe, plan, execute
``report``     wirings and differences as text
``deadline``   the time that a verb may take
``errors``     why a wiring could not be applied or removed
"""
