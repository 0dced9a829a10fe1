# SPDX-License-Identifier: MIT
# A changelog that was truncated is read on where it was.
s/if (facts->changed) {/if (facts->changed \&\& facts->newer) {/
