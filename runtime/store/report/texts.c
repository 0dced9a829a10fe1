/* SPDX-License-Identifier: MIT */
#include "store/report/texts.h"

#include <stdlib.h>
#include <string.h>

struct cu_text {
	struct cu_text *older;
	char bytes[];
};

const char *cu_texts_keep(struct cu_texts *texts, const char *text)
{
	size_t n = text ? strlen(text) : 0;
	struct cu_text *kept = malloc(sizeof(*kept) + n + 1);

	if (!kept)
		return NULL;
	if (text)
		memcpy(kept->bytes, text, n);
	kept->bytes[n] = '\0';
	kept->older = texts->newest;
	texts->newest = kept;
	return kept->bytes;
}

void cu_texts_free(struct cu_texts *texts)
{
	while (texts->newest) {
		struct cu_text *older = texts->newest->older;

		free(texts->newest);
		texts->newest = older;
	}
}
