/* test_hook.c - the rules of links, worlds and publication: hook.h W1-W6, design section 4. Linked with
 * -Wl,--wrap for malloc, calloc and realloc, so that every allocation of a change can be made to fail. */
#include "fail_alloc.h"
#include "hook_fixture.h"

#include <string.h>

static const struct pf_chain *chain_of(struct pf_datapath *dp, uint32_t hook)
{
	return &pf_datapath_world(dp)->chains[hook];
}

static struct pf_link_info link_info(struct pf_link *link)
{
	struct pf_link_info info;
	pf_link_info(link, &info);
	if (info.prog)
		pf_prog_put(info.prog); /* the caller of this function holds one as well */
	return info;
}

/* One row of the update rules: what is given, and the result in the order of checks. */
enum which { NONE, CURRENT, OTHER, MEMORY };

static enum pf_err rule(int detached, enum which expect, enum which generation, enum which new)
{
	if (detached)
		return PF_ENOLINK;
	if (expect == OTHER)
		return PF_EPERM;
	if (generation == OTHER)
		return PF_ESTALE;
	if (new == MEMORY)
		return PF_EINVAL;
	return PF_OK;
}

static void check_row(int detached, enum which expect, enum which generation, enum which new, enum pf_err want)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *progs[] = { NULL, returning(2), returning(1), memory_prog() };
	struct pf_link *link = attached(dp, 0, progs[CURRENT], 50, PF_CONTINUE_DEFAULT);
	if (detached)
		CHECK_EQ(pf_link_detach(link, NULL, NULL), PF_OK);
	struct pf_datapath_info before = info_of(dp);
	struct pf_link_info link_before = link_info(link);
	struct pf_expect given = { .program = progs[expect],
				   .generation = generation == NONE ? 0 : generation == CURRENT ? 1 : 7 };
	struct pf_change change = { .revision = 99 };
	struct pf_diag diag = { .code = PF_DIAG_NONE };
	CHECK_EQ(pf_link_update(link, progs[new], &given, &change, &diag), want);
	struct pf_datapath_info after = info_of(dp);
	struct pf_link_info link_after = link_info(link);
	CHECK_EQ(after.worlds_live, 1);
	CHECK_EQ(after.links, before.links);
	if (want) { /* nothing changed, and the diagnostic says so (T1) */
		CHECK_EQ(diag.err, want);
		CHECK(diag.code != PF_DIAG_NONE);
		CHECK_EQ(change.revision, 99);
	} else {
		CHECK(change.old == progs[CURRENT]);
		pf_prog_put(change.old);
		CHECK_EQ(change.generation, link_after.generation);
		CHECK_EQ(change.revision, after.revision);
	}
	int publishes = !want && new != CURRENT;
	CHECK_EQ(after.revision, before.revision + (uint64_t)publishes);
	CHECK_EQ(after.generation, before.generation + (uint64_t)publishes);
	CHECK_EQ(link_after.generation, link_before.generation + (uint64_t)publishes);
	CHECK(link_after.prog == (publishes ? progs[new] : link_before.prog));
	CHECK(publishes || want || change.token == 0);
	CHECK(!publishes || change.token == after.token);
	pf_link_put(link);
	pf_datapath_put(dp);
	for (int i = CURRENT; i <= MEMORY; i++)
		pf_prog_put(progs[i]);
}

static void test_update_rules(void)
{
	/* Spelled out: where two rules meet, the earlier wins. */
	check_row(1, OTHER, OTHER, MEMORY, PF_ENOLINK);
	check_row(1, NONE, NONE, MEMORY, PF_ENOLINK); /* detached, and would not fit */
	check_row(0, OTHER, OTHER, MEMORY, PF_EPERM);
	check_row(0, OTHER, NONE, CURRENT, PF_EPERM); /* even when new is already current */
	check_row(0, CURRENT, OTHER, MEMORY, PF_ESTALE);
	check_row(0, NONE, OTHER, CURRENT, PF_ESTALE);
	check_row(0, CURRENT, CURRENT, MEMORY, PF_EINVAL);
	check_row(0, CURRENT, CURRENT, CURRENT, PF_OK);
	for (int detached = 0; detached < 2; detached++)
		for (enum which expect = NONE; expect <= OTHER; expect++)
			for (enum which generation = NONE; generation <= OTHER; generation++)
				for (enum which new = CURRENT; new <= MEMORY; new++)
					check_row(detached, expect, generation, new,
						  rule(detached, expect, generation, new));
}

/* A, B, A again: the program is the expected one, the generation is not. */
static void test_generation_closes_the_hole(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1), *b = returning(2);
	struct pf_link *link = attached(dp, 0, a, 0, 0);
	struct pf_expect expect = { .program = a, .generation = 1 };
	CHECK_EQ(pf_link_update(link, b, NULL, NULL, NULL), PF_OK);
	CHECK_EQ(pf_link_update(link, a, NULL, NULL, NULL), PF_OK);
	CHECK_EQ(pf_link_update(link, b, &expect, NULL, NULL), PF_ESTALE);
	expect.generation = 3;
	CHECK_EQ(pf_link_update(link, b, &expect, NULL, NULL), PF_OK);
	CHECK_EQ(link_info(link).generation, 4);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(a);
	pf_prog_put(b);
}

static void test_attach_and_detach(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *pass = returning(2), *memory = memory_prog();
	struct pf_link *link = NULL;
	struct pf_change change;
	struct pf_diag diag;
	uint64_t revision = info_of(dp).revision;
	CHECK_EQ(revision, 2); /* the empty world, then one hook */
	CHECK_EQ(pf_link_attach(dp, 1, pass, 0, 0, &link, &change, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_NUMBER);
	CHECK_EQ(pf_link_attach(dp, 0, memory, 0, 0, &link, &change, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TYPE);
	CHECK_EQ(pf_link_attach(dp, 0, pass, 0, 1u << PF_ACTIONS, &link, &change, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_CONTINUE);
	CHECK(!link);
	CHECK_EQ(info_of(dp).revision, revision);
	CHECK_EQ(pf_link_attach(dp, 0, pass, 10, PF_CONTINUE_DEFAULT, &link, &change, &diag), PF_OK);
	CHECK(!change.old);
	CHECK_EQ(change.generation, 1);
	CHECK_EQ(change.revision, revision + 1);
	CHECK(change.token && change.publish_ns < 1000000000u);
	CHECK_EQ(link_info(link).id, 1); /* the refused ones took no number */
	CHECK_EQ(info_of(dp).links, 1);
	CHECK_EQ(chain_of(dp, 0)->count, 1);
	CHECK_EQ(pf_link_detach(link, &change, &diag), PF_OK);
	CHECK(change.old == pass);
	pf_prog_put(change.old);
	CHECK(change.token != 0);
	CHECK_EQ(chain_of(dp, 0)->count, 0);
	revision = info_of(dp).revision;
	CHECK_EQ(pf_link_detach(link, &change, &diag), PF_OK); /* idempotent */
	CHECK(!change.old && !change.token);
	CHECK_EQ(info_of(dp).revision, revision);
	CHECK(link_info(link).detached);
	CHECK_EQ(info_of(dp).links, 0);
	pf_link_put(link);
	pf_prog_put(pass);
	pf_prog_put(memory);
	CHECK_EQ(info_of(dp).worlds_live, 1);
	pf_datapath_put(dp);
}

/* Chains: lower priority first, then the older link; each hook its own. */
static void test_chain_order(void)
{
	struct pf_datapath *dp = datapath_of(2);
	static const struct {
		uint32_t hook;
		int32_t priority;
	} rows[] = { { 0, 50 }, { 1, 5 }, { 0, -3 }, { 0, 50 }, { 1, 4 }, { 0, 7 } };
	static const uint64_t want0[] = { 3, 6, 1, 4 }, want1[] = { 5, 2 };
	struct pf_prog *prog = returning(2);
	struct pf_link *links[COUNT(rows)];
	for (size_t i = 0; i < COUNT(rows); i++)
		links[i] = attached(dp, rows[i].hook, prog, rows[i].priority, (uint32_t)i & 31);
	CHECK_EQ(chain_of(dp, 0)->count, COUNT(want0));
	CHECK_EQ(chain_of(dp, 1)->count, COUNT(want1));
	for (size_t i = 0; i < COUNT(want0); i++) {
		CHECK_EQ(chain_of(dp, 0)->entries[i].link_id, want0[i]);
		CHECK_EQ(chain_of(dp, 0)->entries[i].continue_on, want0[i] - 1);
	}
	for (size_t i = 0; i < COUNT(want1); i++)
		CHECK_EQ(chain_of(dp, 1)->entries[i].link_id, want1[i]);
	CHECK_EQ(pf_link_detach(links[0], NULL, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->count, 3);
	CHECK_EQ(chain_of(dp, 0)->entries[2].link_id, 4);
	/* Dropping the handle does not detach. */
	for (size_t i = 0; i < COUNT(rows); i++)
		pf_link_put(links[i]);
	CHECK_EQ(info_of(dp).links, COUNT(rows) - 1);
	pf_prog_put(prog);
	pf_datapath_put(dp);
}

static void test_link_outlives_datapath(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1), *b = returning(2);
	struct pf_link *link = attached(dp, 0, a, 0, 0), *dropped = attached(dp, 0, b, 0, 0);
	pf_link_put(dropped);
	pf_datapath_get(dp);
	pf_datapath_put(dp);
	CHECK(!link_info(link).detached);
	struct pf_subscriber *subscriber = dp->subscriber;
	pf_ref_get(&subscriber->ref); /* as a map that is just telling its subscribers */
	CHECK(subscriber->target == dp);
	pf_datapath_put(dp);
	CHECK(!subscriber->target);
	CHECK_EQ(subscriber->ref.count, 1);
	pf_ref_put(&subscriber->ref);
	CHECK(link_info(link).detached);
	CHECK_EQ(pf_link_update(link, b, NULL, NULL, NULL), PF_ENOLINK);
	CHECK_EQ(pf_link_detach(link, NULL, NULL), PF_OK);
	pf_link_put(link);
	pf_prog_put(a);
	pf_prog_put(b);
}

/* A commit of several edits: one revision, all or none; later edits see what earlier ones leave. */
static void test_commit(void)
{
	struct pf_datapath *dp = datapath_of(2);
	struct pf_prog *a = returning(1), *b = returning(2), *c = returning(3), *memory = memory_prog();
	struct pf_link *one = attached(dp, 0, a, 0, 0), *two = attached(dp, 1, a, 0, 0);
	uint64_t revision = info_of(dp).revision;
	struct pf_change changes[3];
	struct pf_edit both[] = {
		{ .kind = PF_EDIT_UPDATE, .link = one, .prog = b, .change = &changes[0] },
		{ .kind = PF_EDIT_UPDATE, .link = two, .prog = c, .change = &changes[1] },
	};
	CHECK_EQ(pf_datapath_commit(dp, both, 2, NULL), PF_OK);
	CHECK_EQ(info_of(dp).revision, revision + 1);
	CHECK(changes[0].token == changes[1].token && changes[0].old == a && changes[1].old == a);
	pf_prog_put(a);
	pf_prog_put(a);
	CHECK(chain_of(dp, 0)->entries[0].prog == b && chain_of(dp, 1)->entries[0].prog == c);

	struct pf_edit refused[] = {
		{ .kind = PF_EDIT_UPDATE, .link = one, .prog = c },
		{ .kind = PF_EDIT_DETACH, .link = one },
		{ .kind = PF_EDIT_UPDATE, .link = two, .prog = memory },
	};
	CHECK_EQ(pf_datapath_commit(dp, refused, 3, NULL), PF_EINVAL);
	CHECK_EQ(info_of(dp).revision, revision + 1);
	CHECK(link_info(one).prog == b && link_info(one).generation == 2 && !link_info(one).detached);

	struct pf_expect expect = { .program = c, .generation = 3 };
	struct pf_edit steps[] = {
		{ .kind = PF_EDIT_UPDATE, .link = one, .prog = c, .change = &changes[0] },
		{ .kind = PF_EDIT_UPDATE, .link = one, .prog = a, .expect = &expect, .change = &changes[1] },
		{ .kind = PF_EDIT_UPDATE, .link = two, .prog = c, .change = &changes[2] },
	};
	CHECK_EQ(pf_datapath_commit(dp, steps, 3, NULL), PF_OK);
	CHECK(changes[0].old == b && changes[1].old == c && changes[2].old == c);
	CHECK(link_info(one).prog == a);
	CHECK_EQ(link_info(one).generation, 3); /* one visible change */
	CHECK_EQ(link_info(two).generation, 2);
	CHECK_EQ(changes[2].token, 0); /* was current */
	for (int i = 0; i < 3; i++)
		pf_prog_put(changes[i].old);
	CHECK_EQ(info_of(dp).worlds_live, 1);
	pf_link_put(one);
	pf_link_put(two);
	pf_datapath_put(dp);
	struct pf_prog *progs[] = { a, b, c, memory };
	for (size_t i = 0; i < COUNT(progs); i++) {
		CHECK_EQ(progs[i]->ref.count, 1);
		pf_prog_put(progs[i]);
	}
}

/* W6: what a program can reach is in the world's table, transitively, and its changes publish. */
static void test_bindings(void)
{
	struct pf_map_def inner_def = { .type = PF_MAP_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	struct pf_map *first = map_of(PF_MAP_PROG_ARRAY, 4, NULL), *second = map_of(PF_MAP_PROG_ARRAY, 100, NULL);
	struct pf_map *outer = map_of(PF_MAP_ARRAY_OF_MAPS, 2, &inner_def);
	struct pf_map *inner = map_of(PF_MAP_ARRAY, 1, NULL);
	const struct pf_insn lookup[] = { LD_MAP(1, 3), MOV_IMM(0, 1), EXIT() };
	const struct pf_prog_map outer_maps[] = { { 3, outer } };
	struct pf_prog *head = tail_caller(first, 0, 2), *middle = tail_caller(second, 70, 2);
	struct pf_prog *leaf = prog_of(lookup, COUNT(lookup), outer_maps, 1, 5), *self = tail_caller(second, 1, 1);
	struct pf_datapath *dp = datapath_of(1), *other = datapath_of(1);
	uint32_t published = 9;
	CHECK_EQ(bind_at(first, 0, &middle->ref, &published), PF_OK);
	CHECK_EQ(published, 0); /* nobody reaches it */
	struct pf_link *link = attached(dp, 0, head, 0, 0), *far = attached(other, 0, middle, 0, 0);
	struct pf_datapath_info before = info_of(dp);
	CHECK(pf_bindings_of(&pf_datapath_world(dp)->bindings, first));
	CHECK(pf_bindings_of(&pf_datapath_world(dp)->bindings, second));
	CHECK(!pf_bindings_of(&pf_datapath_world(dp)->bindings, outer));
	CHECK(!pf_bindings_of(&pf_datapath_world(dp)->bindings, inner));
	CHECK_EQ(bind_at(second, 70, &leaf->ref, &published), PF_OK);
	CHECK_EQ(published, 2); /* both datapaths */
	CHECK_EQ(info_of(dp).revision, before.revision + 1);
	CHECK_EQ(info_of(dp).generation, before.generation);
	CHECK(info_of(dp).token > before.token);
	CHECK_EQ(link_info(link).generation, 1);
	CHECK(pf_bindings_of(&pf_datapath_world(dp)->bindings, outer)); /* newly reachable */
	CHECK_EQ(bind_at(outer, 1, &inner->ref, &published), PF_OK);
	CHECK_EQ(published, 2);
	const struct pf_binding *seen = pf_bindings_of(&pf_datapath_world(dp)->bindings, outer);
	CHECK(seen->objects[1] == &inner->ref);
	CHECK_EQ(bind_at(second, 1, &self->ref, &published), PF_OK); /* a loop of tail calls ends the search all the same */
	CHECK_EQ(bind_at(first, 0, NULL, &published), PF_OK);
	CHECK_EQ(published, 1);
	CHECK(!pf_bindings_of(&pf_datapath_world(dp)->bindings, second));
	CHECK_EQ(bind_at(outer, 1, NULL, &published), PF_OK);
	CHECK_EQ(published, 1); /* only `other` still reaches it */
	CHECK_EQ(pf_link_detach(far, NULL, NULL), PF_OK);
	CHECK_EQ(bind_at(second, 70, NULL, &published), PF_OK);
	CHECK_EQ(published, 0);
	CHECK_EQ(bind_at(second, 1, NULL, &published), PF_OK); /* breaks the cycle array - self (P3) */
	CHECK_EQ(info_of(dp).worlds_live, 1);
	pf_link_put(link);
	pf_link_put(far);
	pf_datapath_put(dp);
	CHECK_EQ(bind_at(first, 0, &middle->ref, &published), PF_OK);
	CHECK_EQ(published, 0); /* the datapath is gone, its subscription too */
	CHECK_EQ(bind_at(first, 0, NULL, &published), PF_OK);
	pf_datapath_put(other);
	struct pf_prog *progs[] = { head, middle, leaf, self };
	for (size_t i = 0; i < COUNT(progs); i++)
		pf_prog_put(progs[i]);
	struct pf_map *maps[] = { first, second, outer, inner };
	for (size_t i = 0; i < COUNT(maps); i++) {
		CHECK_EQ(maps[i]->ref.count, 1);
		pf_map_put(maps[i]);
	}
}

/* An entry's engine is the best that it and everything it can tail-call have, within the datapath's limit. */
static void test_engines(void)
{
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 4, NULL);
	struct pf_prog *head = tail_caller(array, 0, 2), *fast = returning(2), *slow = returning(1);
	struct pf_datapath *dp = datapath_of(1);
	make_interp(head);
	make_interp(fast);
	CHECK_EQ(pf_vm_stage(slow, PF_ENGINE_CHECKED, NULL, NULL), PF_OK);
	struct pf_link *link = attached(dp, 0, head, 0, 0);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(bind_at(array, 0, &fast->ref, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(bind_at(array, 3, &slow->ref, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_CHECKED);
	CHECK_EQ(bind_at(array, 3, &head->ref, NULL), PF_OK); /* calls itself */
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_INTERP);
	/* Two calls away, and found after its callers. */
	struct pf_map *deeper = map_of(PF_MAP_PROG_ARRAY, 1, NULL);
	struct pf_prog *middle = tail_caller(deeper, 0, 2);
	make_interp(middle);
	CHECK_EQ(bind_at(deeper, 0, &slow->ref, NULL), PF_OK);
	CHECK_EQ(bind_at(array, 2, &middle->ref, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_CHECKED);
	CHECK_EQ(bind_at(deeper, 0, NULL, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(bind_at(array, 2, NULL, NULL), PF_OK);
	pf_prog_put(middle);
	pf_map_put(deeper);
	uint64_t revision = info_of(dp).revision;
	CHECK_EQ(pf_datapath_set_engine(dp, PF_ENGINE_CHECKED, NULL), PF_OK);
	CHECK_EQ(pf_datapath_set_engine(dp, PF_ENGINE_CHECKED, NULL), PF_OK);
	CHECK_EQ(info_of(dp).revision, revision + 1);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_CHECKED);
	CHECK_EQ(pf_datapath_set_engine(dp, PF_ENGINE_JIT, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(info_of(dp).generation, 1);
	fast->verified = 0; /* unchecked code of an unverified program is never chosen */
	CHECK_EQ(pf_link_update(link, fast, NULL, NULL, NULL), PF_OK);
	CHECK_EQ(chain_of(dp, 0)->entries[0].engine, PF_ENGINE_CHECKED);
	CHECK_EQ(bind_at(array, 3, NULL, NULL), PF_OK);
	CHECK_EQ(bind_at(array, 0, NULL, NULL), PF_OK);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(head);
	pf_prog_put(fast);
	pf_prog_put(slow);
	pf_map_put(array);
}

/* Better code of the same programs: a new revision, the same generations, no row of history; nothing where nothing
 * changes, or while a program that can be tail-called has no such code. */
static void test_refresh(void)
{
	struct pf_datapath *dp = datapath_of(2);
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 2, NULL);
	struct pf_prog *caller = tail_caller(array, 0, 2), *target = returning(1);
	struct pf_link *link = attached(dp, 0, caller, 50, PF_CONTINUE_DEFAULT);
	struct pf_generation rows[4];
	int published = 9;
	CHECK_EQ(bind_at(array, 0, &target->ref, NULL), PF_OK);
	const struct pf_datapath_info before = info_of(dp);
	CHECK_EQ(pf_datapath_refresh(dp, &published, NULL), PF_OK);
	CHECK_EQ(published, 0);
	make_interp(caller);
	CHECK_EQ(pf_datapath_refresh(dp, &published, NULL), PF_OK);
	CHECK_EQ(published, 0); /* its target is not there yet */
	CHECK_EQ(info_of(dp).revision, before.revision);
	make_interp(target);
	CHECK_EQ(pf_datapath_refresh(dp, &published, NULL), PF_OK);
	CHECK_EQ(published, 1);
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_INTERP);
	CHECK_EQ(info_of(dp).revision, before.revision + 1);
	CHECK_EQ(info_of(dp).generation, before.generation);
	CHECK_EQ(pf_link_history(link, rows, 4), 1);
	pf_prog_put(rows[0].prog);
	CHECK_EQ(pf_datapath_refresh(dp, &published, NULL), PF_OK);
	CHECK_EQ(published, 0);
	CHECK_EQ(pf_datapath_set_engine(dp, PF_ENGINE_CHECKED, NULL), PF_OK);
	CHECK_EQ(pf_datapath_refresh(dp, &published, NULL), PF_OK);
	CHECK_EQ(published, 0); /* the limit holds */
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_CHECKED);
	const uint32_t key = 0;
	CHECK_EQ(pf_map_user_delete(array, &key), PF_OK);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(caller);
	pf_prog_put(target);
	CHECK_EQ(array->ref.count, 1);
	pf_map_put(array);
}

/* W2, W3: an online worker keeps the old world; waiting tells a stalled or own worker apart. */
static void test_grace_period(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1), *b = returning(2);
	struct pf_link *link = attached(dp, 0, a, 0, 0);
	struct pf_rcu_worker *worker = pf_rcu_register(pf_datapath_rcu(dp), "slow");
	struct pf_change change;
	struct pf_diag diag;
	CHECK_EQ(pf_link_set_history(link, 1, NULL), PF_OK); /* or the history would hold the old program too */
	pf_rcu_online(worker);
	const struct pf_world *world = pf_datapath_world(dp);
	CHECK_EQ(pf_link_update(link, b, NULL, &change, NULL), PF_OK);
	pf_prog_put(change.old);
	pf_prog_put(a);
	CHECK_EQ(info_of(dp).worlds_live, 2);
	CHECK(world->chains[0].entries[0].prog == a); /* only the old world holds it */
	CHECK_EQ(a->ref.count, 1);
	CHECK_EQ(pf_datapath_wait(dp, change.token, 1000000, NULL, &diag), PF_ETIMEDOUT);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_STALLED);
	CHECK(!strcmp(diag.name, "slow"));
	CHECK_EQ(pf_datapath_wait(dp, change.token, UINT64_MAX, worker, &diag), PF_EDEADLK);
	CHECK_EQ(info_of(dp).worlds_live, 2);
	pf_rcu_offline(worker);
	CHECK_EQ(pf_datapath_wait(dp, change.token, UINT64_MAX, worker, &diag), PF_OK);
	CHECK_EQ(info_of(dp).worlds_live, 1);
	CHECK_EQ(pf_datapath_wait(dp, 0, 0, NULL, &diag), PF_OK);
	pf_rcu_unregister(worker);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(b);
}

/* Every allocation of every change fails once: the change reports it and nothing else happened (W4). */
struct scene {
	struct pf_datapath *dp;
	struct pf_link *link, *new_link;
	struct pf_prog *plain, *caller, *leaf;
	struct pf_map *array, *second;
};

static struct scene scene_create(void)
{
	struct scene s = { .dp = datapath_of(1), .plain = returning(2) };
	s.array = map_of(PF_MAP_PROG_ARRAY, 4, NULL);
	s.second = map_of(PF_MAP_PROG_ARRAY, 4, NULL);
	s.caller = tail_caller(s.array, 0, 2);
	s.leaf = tail_caller(s.second, 0, 2);
	CHECK_EQ(bind_at(s.array, 0, &s.leaf->ref, NULL), PF_OK);
	s.link = attached(s.dp, 0, s.plain, 0, 0);
	return s;
}

static void scene_destroy(struct scene *s)
{
	CHECK_EQ(info_of(s->dp).worlds_live, 1);
	CHECK_EQ(bind_at(s->array, 0, NULL, NULL), PF_OK);
	pf_link_put(s->link);
	if (s->new_link)
		pf_link_put(s->new_link);
	pf_datapath_put(s->dp);
	struct pf_prog *progs[] = { s->plain, s->caller, s->leaf };
	for (size_t i = 0; i < COUNT(progs); i++) {
		CHECK_EQ(progs[i]->ref.count, 1);
		pf_prog_put(progs[i]);
	}
	CHECK_EQ(s->array->ref.count, 1);
	CHECK_EQ(s->second->ref.count, 1);
	pf_map_put(s->array);
	pf_map_put(s->second);
}

static enum pf_err do_attach(struct scene *s)
{
	return pf_link_attach(s->dp, 0, s->caller, 0, 0, &s->new_link, NULL, NULL);
}

static enum pf_err do_update(struct scene *s)
{
	return pf_link_update(s->link, s->caller, NULL, NULL, NULL);
}

static enum pf_err do_detach(struct scene *s)
{
	return pf_link_detach(s->link, NULL, NULL);
}

static enum pf_err do_add_hook(struct scene *s)
{
	uint32_t hook;
	return pf_datapath_add_hook(s->dp, &hook, NULL);
}

static enum pf_err do_set_engine(struct scene *s)
{
	return pf_datapath_set_engine(s->dp, PF_ENGINE_CHECKED, NULL);
}

static void test_allocation_failures(void)
{
	static enum pf_err (*const changes[])(struct scene *) = { do_attach, do_update, do_detach, do_add_hook,
								  do_set_engine };
	for (size_t c = 0; c < COUNT(changes); c++) {
		enum pf_err err = PF_ENOMEM;
		long n = 0;
		for (; err; n++) {
			struct scene s = scene_create();
			struct pf_datapath_info before = info_of(s.dp);
			failed = 0;
			fail_after = n;
			err = changes[c](&s);
			fail_after = -1;
			CHECK_EQ(err != PF_OK, failed != 0);
			struct pf_datapath_info after = info_of(s.dp);
			CHECK_EQ(after.revision, before.revision + (err == PF_OK));
			if (err) {
				uint32_t published = 9;
				CHECK_EQ(err, PF_ENOMEM);
				CHECK(!memcmp(&before, &after, sizeof(before)));
				CHECK(link_info(s.link).prog == s.plain);
				CHECK_EQ(link_info(s.link).generation, 1);
				CHECK_EQ(bind_at(s.second, 1, &s.plain->ref, &published), PF_OK);
				CHECK_EQ(published, 0); /* no subscription stayed behind */
				CHECK_EQ(bind_at(s.second, 1, NULL, NULL), PF_OK);
				CHECK(!s.new_link);
				CHECK_EQ(do_attach(&s), PF_OK);
				CHECK_EQ(link_info(s.new_link).id, 2); /* no number was lost */
			}
			scene_destroy(&s);
		}
		CHECK(n > 1);
	}
}

static void test_creation_failures(void)
{
	for (long n = 0;; n++) {
		struct pf_datapath *dp = NULL;
		fail_after = n;
		enum pf_err err = pf_datapath_create(&dp, NULL);
		fail_after = -1;
		if (!err) {
			CHECK(n > 1);
			pf_datapath_put(dp);
			return;
		}
		CHECK_EQ(err, PF_ENOMEM);
		CHECK(!dp);
	}
}

/* A change of a binding whose publication finds no memory: the old world stays, the next change catches up. */
static void test_binding_failure(void)
{
	for (long n = 0;; n++) {
		struct scene s = scene_create();
		CHECK_EQ(pf_link_update(s.link, s.caller, NULL, NULL, NULL), PF_OK);
		uint64_t revision = info_of(s.dp).revision;
		uint32_t key = 2;
		struct pf_diag diag;
		fail_after = n;
		enum pf_err err = pf_map_bind(s.array, &key, &s.plain->ref, PF_MAP_ANY, NULL, &diag);
		int left = fail_after >= 0;
		fail_after = -1;
		CHECK_EQ(info_of(s.dp).revision, revision + (err == PF_OK));
		CHECK_EQ(bind_at(s.array, 2, &s.leaf->ref, NULL), PF_OK);
		CHECK(pf_bindings_of(&pf_datapath_world(s.dp)->bindings, s.array)->objects[2] == &s.leaf->ref);
		CHECK_EQ(bind_at(s.array, 2, NULL, NULL), PF_OK);
		scene_destroy(&s);
		if (left)
			return;
	}
}

int main(void)
{
	test_refresh();
	test_update_rules();
	test_generation_closes_the_hole();
	test_attach_and_detach();
	test_chain_order();
	test_link_outlives_datapath();
	test_commit();
	test_bindings();
	test_engines();
	test_grace_period();
	test_allocation_failures();
	test_creation_failures();
	test_binding_failure();
	return 0;
}
