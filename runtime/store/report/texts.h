/* SPDX-License-Identifier: MIT */
/*
 * texts.h - copies of texts that live as long as the report they stand in, and end together.
 */
#ifndef CU_STORE_TEXTS_H
#define CU_STORE_TEXTS_H

/* Zero: none. */
struct cu_texts {
	struct cu_text *newest; /* owned */
};

/* A copy, good until cu_texts_free; "" for NULL. Returns NULL without memory. */
const char *cu_texts_keep(struct cu_texts *texts, const char *text);
void cu_texts_free(struct cu_texts *texts);

#endif
