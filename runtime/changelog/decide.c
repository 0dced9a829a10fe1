/* SPDX-License-Identifier: MIT */
#include "changelog/decide.h"

enum cu_step cu_decide(const struct cu_facts *facts)
{
	if (facts->more)
		return CU_STEP_READ;
	if (facts->changed) {
		/* A writer took an unfinished line back; nothing that was handed out is touched. */
		if (facts->line_intact)
			return CU_STEP_TAKE_BACK;
		/* An old file that is being wiped holds nothing more of ours. */
		return facts->newer ? CU_STEP_ADVANCE : CU_STEP_RESTART;
	}
	/* A writer that still has the old file open may go on in it until the new one is written. */
	if (!facts->newer || !facts->newer_written)
		return CU_STEP_SLEEP;
	/* Whatever was written before the new file's first byte is there by now: look once more. */
	if (!facts->drained)
		return CU_STEP_READ;
	if (facts->pending && !facts->patience_over)
		return CU_STEP_WAIT_END;
	return CU_STEP_ADVANCE;
}
