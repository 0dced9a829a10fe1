# SPDX-License-Identifier: MIT
# Two have the turn to write.
s/if (gate->taken) {/if (gate->taken \&\& gate->first) {/
