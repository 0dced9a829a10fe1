# SPDX-License-Identifier: MIT
# The rest of a file that was rotated away is not read.
s/if (!facts->drained)/if (!facts->newer)/
