/* layout.c - the rows of layout.def. */
#include "../map/bucket.h"
#include "native.h"

const struct pf_native_layout pf_native_layouts[] = {
#define PF_NATIVE_FIELD(type, name, field) { #name "." #field, offsetof(struct type, field) },
#define PF_NATIVE_SIZE(type, name) { "sizeof." #name, sizeof(struct type) },
#define PF_NATIVE_CONSTANT(name, value) { #name, value },
#include "layout.def"
};

const uint32_t pf_native_layout_count = sizeof(pf_native_layouts) / sizeof(pf_native_layouts[0]);
