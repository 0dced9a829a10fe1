# SPDX-License-Identifier: MIT
# `next` with a LIMIT is asked once.
s/plan->config.requery && plan->since_fetch > 0/plan->config.requery \&\& !plan/
