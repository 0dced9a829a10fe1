# SPDX-License-Identifier: MIT
# A retried row is not counted as tried.
s/^\tplan->attempts++;$//
