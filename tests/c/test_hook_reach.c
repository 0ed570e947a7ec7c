/* test_hook_reach.c - a world of many maps, each reached in several ways, has each binding once; engines of what is reached; refusals carry what was
 * found and expected and no place in a program. */
#include "hook_fixture.h"

#include "map/binding.h"

#include <string.h>

#define MAPS 32

static struct pf_prog *reaching(struct pf_map *const *maps, uint32_t count)
{
	struct pf_insn insns[2 * MAPS + 2];
	struct pf_prog_map named[MAPS];
	uint32_t n = 0;
	for (uint32_t i = 0; i < count; i++) {
		insns[n++] = INSN(0x18, 2, 1, 0, (int32_t)i + 1);
		insns[n++] = INSN(0, 0, 0, 0, 0);
		named[i] = (struct pf_prog_map){ i + 1, maps[i] };
	}
	insns[n++] = MOV_IMM(0, PF_XDP_PASS);
	insns[n++] = EXIT();
	return prog_of(insns, n, named, count, 1);
}

static void test_each_binding_once(void)
{
	struct pf_map *maps[MAPS];
	for (uint32_t i = 0; i < MAPS; i++)
		maps[i] = map_of(PF_MAP_PROG_ARRAY, 1, NULL);
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *links[2];
	for (int i = 0; i < 2; i++) {
		struct pf_prog *prog = reaching(maps, MAPS);
		links[i] = attached(dp, 0, prog, i, PF_CONTINUE_DEFAULT);
		pf_prog_put(prog);
	}
	const struct pf_bindings *bindings = &pf_datapath_world(dp)->bindings;
	uint32_t filled = 0;
	CHECK_EQ(bindings->mask + 1, 2 * MAPS); /* half full */
	for (uint32_t i = 0; i <= bindings->mask; i++)
		filled += bindings->slots[i].map != NULL;
	CHECK_EQ(filled, MAPS);
	for (uint32_t i = 0; i < MAPS; i++) {
		struct pf_binding *now = pf_map_binding(maps[i]);
		CHECK(pf_bindings_of(bindings, maps[i]) == now);
		pf_ref_put(&now->ref);
	}
	for (int i = 0; i < 2; i++)
		pf_link_put(links[i]);
	pf_datapath_put(dp);
	for (uint32_t i = 0; i < MAPS; i++) {
		CHECK_EQ(pf_ref_count(&maps[i]->ref), 1);
		pf_map_put(maps[i]);
	}
}

static void refused(const struct pf_diag *diag, enum pf_err err, enum pf_diag_code code, uint64_t found, uint64_t expected)
{
	CHECK_EQ(diag->err, err);
	CHECK_EQ(diag->code, code);
	CHECK_EQ(diag->insn, 0);
	CHECK_EQ(diag->offset, 0);
	CHECK_EQ(diag->found, found);
	CHECK_EQ(diag->expected, expected);
}

static void test_refusals(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1), *b = returning(2);
	struct pf_link *link = attached(dp, 0, a, 0, PF_CONTINUE_DEFAULT), *none = NULL;
	struct pf_diag diag = { 0 };
	CHECK_EQ(pf_link_attach(dp, 7, a, 0, 0, &none, NULL, &diag), PF_EINVAL);
	refused(&diag, PF_EINVAL, PF_DIAG_HOOK_NUMBER, 7, 1);
	CHECK_EQ(pf_link_attach(dp, 0, a, 0, 0x60, &none, NULL, &diag), PF_EINVAL);
	refused(&diag, PF_EINVAL, PF_DIAG_HOOK_CONTINUE, 0x60, (1u << PF_ACTIONS) - 1);
	struct pf_edit again = { .kind = PF_EDIT_ATTACH, .link = link, .prog = b };
	CHECK_EQ(pf_datapath_commit(dp, &again, 1, &diag), PF_EINVAL);
	refused(&diag, PF_EINVAL, PF_DIAG_HOOK_REATTACH, 1, 0);
	CHECK_EQ(pf_link_rollback(link, 9, NULL, NULL, &diag), PF_ENOENT);
	refused(&diag, PF_ENOENT, PF_DIAG_HOOK_NO_GENERATION, 9, 1);
	CHECK_EQ(pf_link_rollback(link, 0, NULL, NULL, &diag), PF_ENOENT);
	refused(&diag, PF_ENOENT, PF_DIAG_HOOK_NOTHING_BEFORE, 1, 0);
	struct pf_expect expect = { .program = b };
	CHECK_EQ(pf_link_update(link, b, &expect, NULL, &diag), PF_EPERM);
	refused(&diag, PF_EPERM, PF_DIAG_HOOK_STALE_PROGRAM, a->id, b->id);
	expect = (struct pf_expect){ .generation = 5 };
	CHECK_EQ(pf_link_update(link, b, &expect, NULL, &diag), PF_ESTALE);
	refused(&diag, PF_ESTALE, PF_DIAG_HOOK_STALE_GENERATION, 1, 5);
	CHECK_EQ(pf_link_detach(link, NULL, NULL), PF_OK);
	CHECK_EQ(pf_link_update(link, b, NULL, NULL, &diag), PF_ENOLINK);
	refused(&diag, PF_ENOLINK, PF_DIAG_HOOK_DETACHED, 1, 0);
	pf_link_put(link);
	pf_prog_put(a);
	pf_prog_put(b);
	pf_datapath_put(dp);
}

/* The engine of an entry is the best that all it can tail-call have, not only the first of them. */
static void test_engine_of_all(void)
{
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 3, NULL);
	struct pf_prog *fast = returning(1), *slow = returning(2), *caller = tail_caller(array, 0, PF_XDP_PASS);
	make_interp(fast);
	make_interp(caller);
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *link = attached(dp, 0, caller, 0, PF_CONTINUE_DEFAULT);
	CHECK_EQ(bind_at(array, 0, &fast->ref, NULL), PF_OK);
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(bind_at(array, 2, &slow->ref, NULL), PF_OK);
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_CHECKED);
	CHECK_EQ(bind_at(array, 2, NULL, NULL), PF_OK);
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(info_of(dp).hooks, 1); /* a changed binding changes nothing else */
	struct pf_change change;
	CHECK_EQ(pf_link_update(link, slow, NULL, &change, NULL), PF_OK);
	CHECK_EQ(pf_link_wait(link, &change, UINT64_MAX, NULL, NULL, NULL), PF_OK); /* nobody asks how long */
	pf_prog_put(change.old);
	pf_link_put(link);
	pf_datapath_put(dp);
	CHECK_EQ(bind_at(array, 0, NULL, NULL), PF_OK);
	pf_prog_put(fast);
	pf_prog_put(slow);
	pf_prog_put(caller);
	pf_map_put(array);
}

/* A wait for oneself is refused only when it is oneself one would wait for. */
static void test_self_wait(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_rcu *rcu = pf_datapath_rcu(dp);
	struct pf_rcu_worker *self = pf_rcu_register(rcu, "self"), *other = pf_rcu_register(rcu, "other");
	struct pf_diag diag = { 0 };
	pf_rcu_online(self);
	pf_rcu_online(other);
	const uint64_t token = pf_rcu_advance(rcu);
	CHECK_EQ(pf_rcu_wait(rcu, token, 0, self, &diag), PF_EDEADLK);
	refused(&diag, PF_EDEADLK, PF_DIAG_HOOK_SELF_WAIT, token - 1, token);
	pf_rcu_quiescent(self);
	CHECK_EQ(pf_rcu_wait(rcu, token, 0, self, &diag), PF_ETIMEDOUT);
	refused(&diag, PF_ETIMEDOUT, PF_DIAG_HOOK_STALLED, token - 1, token);
	pf_rcu_offline(self);
	pf_rcu_offline(other);
	pf_rcu_unregister(self);
	pf_rcu_unregister(other);
	pf_datapath_put(dp);
}

/* A link outlives its datapath, detached, one generation on. */
static void test_what_a_link_says(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1);
	struct pf_link *link = attached(dp, 0, a, -7, PF_CONTINUE_DEFAULT);
	struct pf_link_info info;
	pf_link_info(link, &info);
	CHECK_EQ(info.priority, -7);
	CHECK_EQ(info.generation, 1);
	pf_prog_put(info.prog);
	pf_prog_put(a);
	pf_datapath_put(dp);
	pf_link_info(link, &info);
	CHECK(info.detached && !info.prog);
	CHECK_EQ(info.generation, 2);
	pf_link_put(link);
}

int main(void)
{
	test_self_wait();
	test_what_a_link_says();
	test_engine_of_all();
	test_each_binding_once();
	test_refusals();
	return 0;
}
