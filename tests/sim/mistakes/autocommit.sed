# SPDX-License-Identifier: MIT
# A transaction that consumer code has ended is not missed.
/^static bool transaction_gone/,/^}/s/if (cu_conn_in_transaction(f->writer))/if (f)/
