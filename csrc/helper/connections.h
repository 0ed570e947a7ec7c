/* connections.h - the connection table of a network: what the connection-tracking kernel functions ask and change.
 *
 * Terms
 *   entry        a connection: its two tuples, zone, status, mark, timeout
 *   unconfirmed  allocated, and not in the table yet: nobody else finds it
 *   listed       in the table: lookups find it
 *   way          0 original, 1 reply
 *   expired      its time is not after now; as if it were not there (Linux collects such entries now and then)
 *
 * Invariants
 *   K1 An entry's place never changes while somebody holds it: entries are one block of `max`, whose pages are used as needed.
 *   K2 An entry is used while it is listed or has holders; a listed one has one reference for the table. At 0 it is free.
 *   K3 Times are jiffies of the program's clock in 32 bits, which may wrap, as in Linux. The rows given at creation begin to
 *      age at the first use of the table.
 *   K4 Everything but an image's fields is read and written under the lock. Programs read images, and write the mark,
 *      without it: those stores and the table's own are relaxed.
 *
 * Threads: any. Two runs that use one table at a time see each other's changes in no fixed order.
 */
#ifndef PF_CONNECTIONS_H
#define PF_CONNECTIONS_H

#include "../prog/conn.h"
#include "../tables/tables.h"

#define PF_CONNECTIONS_MAX (1u << 24)
#define PF_CT_HERE (-1) /* the packet's own network namespace */

struct pf_conn_zone {
	uint16_t id;
	uint8_t dir; /* bit per way to which id applies; the other has zone 0 */
};

/* What a table begins with, and what a listing gives. timeout: jiffies that are left. */
struct pf_conn_row {
	struct pf_ct_tuple way[2];
	struct pf_conn_zone zone;
	int32_t netns;
	uint32_t status, mark, timeout;
};

struct pf_connections;

/* PF_EINVAL: max is 0, too large, or below count; PF_EEXIST: two rows have one key. */
enum pf_err pf_connections_create(const struct pf_conn_row *rows, uint32_t count, uint32_t max,
				  struct pf_connections **table);
void pf_connections_destroy(struct pf_connections *table);

/* Is a namespace of this id known, by a row of the table's? */
int pf_connections_know(const struct pf_connections *table, int32_t netns);
/* One reference; *way is where the tuple stood. NULL: none. */
struct pf_conn *pf_connections_find(struct pf_connections *table, uint32_t now, int32_t netns, struct pf_conn_zone zone,
				    const struct pf_ct_tuple *tuple, uint8_t *way);
/* An unconfirmed entry, one reference; NULL: the table is full. */
struct pf_conn *pf_connections_new(struct pf_connections *table, uint32_t now, const struct pf_conn_row *row);
/* Lists an unconfirmed entry; its reference stays. PF_EEXIST: one of its tuples is there; the entry is gone then. */
enum pf_err pf_connections_insert(struct pf_connections *table, uint32_t now, struct pf_conn *conn);
void pf_connections_put(struct pf_connections *table, struct pf_conn *conn);
void pf_connections_set_timeout(struct pf_connections *table, uint32_t now, struct pf_conn *conn, uint32_t jiffies);

/* Whose image holds this address, while the entry is used; NULL: none. */
struct pf_conn *pf_connections_at(struct pf_connections *table, uint64_t address);

/* The listed entries that have not expired by `now`, in the order of their places; NULL rows: their number alone. */
PF_API uint32_t pf_connections_list(struct pf_connections *table, uint32_t now, struct pf_conn_row *rows, uint32_t room);

#endif
