# SPDX-License-Identifier: MIT
# Another process has moved the watermark: the batch goes on from where it was, without a look and
# without a comparison.
s/ AND last = ?3 AND (/ AND ?3 = ?3 AND (/
s/if (event->watermark != plan->watermark)/if (!plan)/
