# SPDX-License-Identifier: MIT
# The row that was in hand when the batch was full is taken for done.
s/^\tplan->goal = plan->seen;$/\tplan->goal = plan->row ? plan->row : plan->seen;/
