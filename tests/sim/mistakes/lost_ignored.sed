# SPDX-License-Identifier: MIT
# One whose lease was taken over commits all the same.
s/^\tif (lost) {/\tif (lost \&\& !lost) {/
