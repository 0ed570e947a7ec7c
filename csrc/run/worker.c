/* worker.c - a worker's and a batch's beginning and end. */
#include "route.h"

#include "../helper/events.h"
#include "../helper/network.h"

#include <stdlib.h>

static enum pf_err nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
}

static enum pf_err prepare_exec(struct pf_worker *w, const struct pf_worker_options *options, struct pf_diag *diag)
{
	if (pf_exec_create(&w->exec))
		return nomem(diag);
	struct pf_exec *x = w->exec;
	if (options->trace) {
		x->trace = calloc(1, sizeof(*x->trace));
		if (!x->trace)
			return nomem(diag);
	}
	if (options->events) {
		x->events = pf_events_create(options->events);
		if (!x->events)
			return nomem(diag);
	}
	if (options->net)
		pf_ref_get(&options->net->ref);
	w->net = options->net;
	x->net = options->net;
	x->cpu = options->cpu;
	x->seed = options->seed;
	x->budget = options->budget ? options->budget : PF_EXEC_BUDGET;
	x->packet.ingress_ifindex = options->ingress_ifindex ? options->ingress_ifindex : 1;
	x->packet.rx_queue_index = options->rx_queue_index;
	return PF_OK;
}

enum pf_err pf_worker_create(struct pf_datapath *dp, uint32_t hook, const struct pf_worker_options *options,
			     struct pf_worker **out, struct pf_diag *diag)
{
	struct pf_datapath_info info;
	pf_datapath_info(dp, &info);
	if (hook >= info.hooks)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_NUMBER, 0, 0, hook, info.hooks, NULL);
	struct pf_worker *w = calloc(1, sizeof(*w));
	if (!w)
		return nomem(diag);
	pf_datapath_get(dp);
	w->dp = dp;
	w->hook = hook;
	w->linear_limit = options->linear_limit ? options->linear_limit : PF_PACKET_LINEAR;
	enum pf_err err = prepare_exec(w, options, diag);
	if (!err) {
		w->rcu = pf_rcu_register(pf_datapath_rcu(dp), options->name ? options->name : "worker");
		if (!w->rcu)
			err = pf_diag_set(diag, PF_EBUSY, PF_DIAG_HOOK_WORKERS, 0, 0, PF_RCU_WORKERS, PF_RCU_WORKERS,
					  NULL);
	}
	w->present.id = options->cpu;
	if (!err)
		err = pf_datapath_enter(dp, &w->present, diag);
	if (err)
		pf_worker_destroy(w);
	else
		*out = w;
	return err;
}

void pf_worker_leave(struct pf_worker *w)
{
	pf_datapath_leave(w->dp, &w->present);
}

void pf_worker_destroy(struct pf_worker *w)
{
	if (!w)
		return;
	pf_worker_leave(w);
	if (w->rcu)
		pf_rcu_unregister(w->rcu);
	if (w->exec) {
		free(w->exec->trace);
		w->exec->trace = NULL;
		free(w->exec->events);
		w->exec->events = NULL;
		pf_exec_destroy(w->exec);
	}
	if (w->second)
		pf_exec_destroy(w->second);
	pf_routes_destroy(w->routes);
	if (w->net)
		pf_ref_put(&w->net->ref);
	pf_datapath_put(w->dp);
	free(w);
}

struct pf_batch *pf_batch_create(uint32_t capacity)
{
	struct pf_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return NULL;
	batch->desc = calloc(capacity ? capacity : 1, sizeof(*batch->desc));
	batch->capacity = capacity ? capacity : 1;
	if (!batch->desc) {
		free(batch);
		return NULL;
	}
	return batch;
}

void pf_batch_destroy(struct pf_batch *batch)
{
	if (!batch)
		return;
	free(batch->desc);
	free(batch);
}
