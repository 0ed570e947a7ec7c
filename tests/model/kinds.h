/* kinds.h - the operations of both programs, as both Promela and C read them. */

/* worker; arg: number of the batch */
#define TOKEN 1   /* load the token */
#define COUNTER 2 /* store the loaded token in the own counter */
#define BARRIER 3 /* a fence, also the writer's */
#define SLOT 4    /* load the slot */
#define USE 5     /* read the world, for the first packet */
#define SLOT2 6   /* only mutants: load the slot again, for the last packet */
#define EFFECT 7  /* the last packet: read the world, write into a map of it */
#define OFFLINE 8 /* store 0 in the own counter */

/* writer; arg: number of the update */
#define BUILD 9    /* write the new world */
#define XCHG 10    /* exchange the slot */
#define ADVANCE 11 /* increment the token */
#define POLL 12    /* load one counter; who: the worker. A waiting update repeats it until it lets the update pass */
#define SEE 13     /* what the caller of a waiting update does when it returns: look at the maps */
#define FREE 14    /* free every retired world whose token has passed */
