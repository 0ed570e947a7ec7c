/* trial_edit.h - what a commit does with a trial (trial.c). All under dp->lock. */
#ifndef PF_TRIAL_EDIT_H
#define PF_TRIAL_EDIT_H

#include "internal.h"

/* The edit is TRIAL (of an attached link without one), PROMOTE or ABANDON: says what it does to the link (prog, idle,
 * revision_only, restores) and stages the trial. now: the link's program in its view. */
enum pf_err pf_trial_apply(struct pf_edit *edit, struct pf_prog *now, struct pf_diag *diag);
/* The commit failed after this edit was applied: the link's trial is what it was. */
void pf_trial_revert(const struct pf_edit *edit);
void pf_trial_unstage(struct pf_link *link);
/* Before the link's own views settle; for every edit, in order. What ended is the edit's to put. */
void pf_trial_settle(struct pf_edit *edit);
/* The datapath is torn down. */
void pf_trial_lose(struct pf_trial *trial);

#endif
