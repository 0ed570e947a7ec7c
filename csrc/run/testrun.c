/* testrun.c - one packet through one program, in a datapath of its own: the same worlds, engines and workers as a
 * replay, so that tail calls and maps of maps mean the same. */
#include "run.h"

#include "../hook/clock.h"

#include <stdlib.h>
#include <string.h>

static enum pf_err check(const struct pf_prog *prog, const struct pf_test_run *run, struct pf_diag *diag)
{
	if (prog->type != PF_PROG_PCAP && run->len < PF_PACKET_MIN)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_RUN_SHORT, 0, 0, run->len, PF_PACKET_MIN, NULL);
	if (run->meta_len > PF_PACKET_HEADROOM || run->meta_len % 4)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_RUN_META, 0, 0, run->meta_len, PF_PACKET_HEADROOM, NULL);
	return PF_OK;
}

static uint8_t *append(uint8_t *to, const uint8_t *from, uint32_t len)
{
	if (len)
		memcpy(to, from, len);
	return to + len;
}

static enum pf_err take_result(struct pf_test_run *run, const struct pf_exec *x, struct pf_diag *diag)
{
	const struct pf_packet *p = &x->packet;
	uint32_t linear = (uint32_t)(p->data_end - p->data);
	run->meta_out_len = (uint32_t)(p->data - p->data_meta);
	run->out_len = linear + p->extra_len;
	run->out = malloc((size_t)run->meta_out_len + run->out_len + 1);
	if (!run->out)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
	uint8_t *to = append(run->out, p->data_meta, run->meta_out_len);
	append(append(to, p->data, linear), p->extra, p->extra_len);
	run->redirected.kind = x->redirect;
	run->redirected.target = x->redirect == PF_REDIRECT_NONE ? 0 : x->redirect_target;
	return PF_OK;
}

static enum pf_err run_repeatedly(struct pf_worker *w, struct pf_test_run *run, struct pf_diag *diag)
{
	struct pf_exec *x = w->exec;
	uint32_t repeat = run->repeat ? run->repeat : 1;
	enum pf_err err = pf_packet_load(&x->packet, run->data, run->len, run->meta, run->meta_len, w->linear_limit);
	if (err)
		return pf_diag_set(diag, err, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
	if (run->wire_len)
		x->packet.wire_len = run->wire_len;
	pf_rcu_online(w->rcu);
	const struct pf_world *world = pf_datapath_world(w->dp);
	const struct pf_chain_entry *entry = world->chains[w->hook].entries;
	uint64_t r0 = 0;
	x->bindings = &world->bindings;
	x->packet.frags = entry->prog->frags;
	run->ran = entry->engine;
	uint64_t start = pf_clock_ns();
	for (uint32_t i = 0; i < repeat && !err; i++) {
		pf_exec_begin(x, i, run->time_ns);
		err = pf_vm_run(x, entry->prog, entry->engine, (uintptr_t)&x->packet, 0, &r0);
	}
	run->duration_ns = (pf_clock_ns() - start) / repeat;
	run->retval = (uint32_t)r0;
	if (err && diag)
		*diag = x->fault.diag;
	x->bindings = NULL;
	pf_rcu_offline(w->rcu);
	return err;
}

static enum pf_err run_in(struct pf_datapath *dp, struct pf_prog *prog, struct pf_test_run *run, struct pf_diag *diag)
{
	uint32_t hook;
	enum pf_err err = pf_datapath_set_engine(dp, run->engine, diag);
	if (!err)
		err = pf_datapath_add_hook(dp, &hook, diag);
	struct pf_link *link;
	if (!err)
		err = pf_link_attach(dp, hook, prog, 0, PF_CONTINUE_DEFAULT, &link, NULL, diag);
	if (err)
		return err;
	pf_link_put(link); /* attached all the same */
	struct pf_worker_options options = {
		.cpu = run->cpu,
		.seed = run->seed,
		.linear_limit = prog->type == PF_PROG_PCAP ? UINT32_MAX : run->linear_limit,
		.budget = run->budget,
		.ingress_ifindex = run->ingress_ifindex,
		.rx_queue_index = run->rx_queue_index,
		.net = run->net,
		.name = "test_run",
	};
	struct pf_worker *worker;
	err = pf_worker_create(dp, hook, &options, &worker, diag);
	if (err)
		return err;
	worker->exec->trace = run->trace;
	worker->exec->events = run->events;
	worker->exec->observer = run->observer;
	err = run_repeatedly(worker, run, diag);
	if (!err)
		err = take_result(run, worker->exec, diag);
	worker->exec->trace = NULL; /* the caller's */
	worker->exec->events = NULL;
	worker->exec->observer = NULL;
	pf_worker_destroy(worker);
	return err;
}

enum pf_err pf_prog_test_run(struct pf_prog *prog, struct pf_test_run *run, struct pf_diag *diag)
{
	run->out = NULL;
	run->out_len = run->meta_out_len = 0;
	enum pf_err err = check(prog, run, diag);
	if (err)
		return err;
	struct pf_datapath *dp;
	err = pf_datapath_create(&dp, diag);
	if (err)
		return err;
	err = run_in(dp, prog, run, diag);
	pf_datapath_put(dp);
	return err;
}
