/* plant.h - unsoundness on purpose: bugs that the campaign (fuzz/) must find, one at a time.
 *
 * PF_PLANTED(n, buggy, right) is `right` unless PF_PLANT is defined: then it is `buggy` where PF_PLANT == n. PF_PLANT is a
 * number, or `pf_plant` to choose at run time (fuzz/planted.sh: one build serves for all). No build that is installed
 * defines it. The numbers say what is wrong in fuzz/plants.txt.
 */
#ifndef PF_PLANT_H
#define PF_PLANT_H

#ifdef PF_PLANT
extern int pf_plant;
#define PF_PLANTED(n, buggy, right) ((PF_PLANT) == (n) ? (buggy) : (right))
#else
#define PF_PLANTED(n, buggy, right) (right)
#endif

#endif
