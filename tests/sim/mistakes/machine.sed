# SPDX-License-Identifier: MIT
# A full disk is the row's fault.
s/^\tcase CU_FAULT_FULL:$//
s/^\tcase CU_FAULT_ROW:$/\tcase CU_FAULT_FULL:\n\tcase CU_FAULT_ROW:/
