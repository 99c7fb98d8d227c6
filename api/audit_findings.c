/* SPDX-License-Identifier: MIT */
#include "api/audit_findings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

const struct audit_case_info *
audit_case_info(enum audit_case found)
{
	static const struct audit_case_info infos[] = {
#define CASE(id, violation, repair, what, todo)                                \
	[AUDIT_CASE_##id] = { AUDIT_##violation, AUDIT_##repair, what, todo },
#include "api/audit_case.def"
#undef CASE
	};

	assert(found < AUDIT_N_CASES);
	return &infos[found];
}

const char *
audit_violation_name(enum audit_violation violation)
{
	static const char *const names[] = {
#define X(id) [AUDIT_##id] = #id,
		AUDIT_VIOLATIONS(X)
#undef X
	};

	assert(violation < AUDIT_N_VIOLATIONS);
	return names[violation];
}

void
audit_findings_fini(struct audit_findings *findings)
{
	free(findings->items);
	*findings = (struct audit_findings){ 0 };
}

bool
audit_findings_add(
	struct audit_findings *findings, const struct audit_finding *finding)
{
	findings->counts[audit_case_info(finding->found)->violation]++;
	if (findings->n == AUDIT_FINDINGS_MAX)
		return true;
	if (findings->n == findings->size) {
		size_t size = MAX(2 * findings->size, 16);
		struct audit_finding *items =
			realloc(findings->items, size * sizeof(*items));

		if (items == NULL)
			return false;
		findings->items = items;
		findings->size = size;
	}
	findings->items[findings->n++] = *finding;
	return true;
}

static int
compare(const void *a, const void *b)
{
	const struct audit_finding *x = a, *y = b;

	if (x->found != y->found)
		return x->found < y->found ? -1 : 1;
	if (x->user_id != y->user_id)
		return x->user_id < y->user_id ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return strcmp(x->request_id, y->request_id);
}

void
audit_findings_sort(struct audit_findings *findings)
{
	if (findings->n > 0)
		qsort(findings->items, findings->n, sizeof(*findings->items),
			compare);
}

void
audit_findings_intersect(
	struct audit_findings *findings, struct audit_findings *earlier)
{
	struct audit_findings kept = { 0 };

	audit_findings_sort(findings);
	audit_findings_sort(earlier);
	for (size_t i = 0, j = 0; i < findings->n && j < earlier->n;) {
		struct audit_finding *item = &findings->items[i];
		int order = compare(item, &earlier->items[j]);

		if (order == 0) {
			kept.counts[audit_case_info(item->found)->violation]++;
			findings->items[kept.n++] = *item;
		}
		i += order <= 0;
		j += order >= 0;
	}
	findings->n = kept.n;
	memcpy(findings->counts, kept.counts, sizeof(kept.counts));
}
