/*
 * portfw: a port firewall with a counter for each rule and for each action.
 *
 * A packet is judged by its destination port and protocol, over IPv4 and IPv6, tagged or not.
 * `port_rules` is asked first; a rule there may drop, or may pass a port that the built-in list
 * below would drop. With empty maps the built-in list alone blocks the usual suspects: telnet,
 * SMB and NetBIOS, RDP, TFTP, SSDP.
 *
 * Later fragments carry no ports and pass: their first fragment was judged, and without it the
 * receiver cannot put them together.
 */
#include "parse.h"

#define MAX_RULES 256 /* rule ids, built-in ones first */
#define ACTIONS 5     /* XDP_ABORTED ... XDP_REDIRECT */

struct port_key {
    __u16 port; /* destination, host order */
    __u8 protocol;
    __u8 unused; /* zero: a key is compared byte by byte, padding included */
};

struct rule {
    __u32 id;     /* index in rule_hits */
    __u32 action; /* XDP_DROP or XDP_PASS */
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, struct port_key);
    __type(value, struct rule);
} port_rules SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MAX_RULES);
    __type(key, __u32);
    __type(value, struct counter);
} rule_hits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ACTIONS);
    __type(key, __u32);
    __type(value, struct counter);
} action_hits SEC(".maps");

/*
 * `const volatile` puts these in .rodata, where a loader may change them before loading, and
 * keeps the compiler from folding in the values seen here.
 */
const volatile __u32 use_builtin = 1;

/* The position in this list is the rule id. */
const volatile struct port_key builtin[] = {
    {23, IPPROTO_TCP, 0},   /* 0 telnet */
    {135, IPPROTO_TCP, 0},  /* 1 MS RPC */
    {139, IPPROTO_TCP, 0},  /* 2 NetBIOS session */
    {445, IPPROTO_TCP, 0},  /* 3 SMB */
    {3389, IPPROTO_TCP, 0}, /* 4 RDP */
    {69, IPPROTO_UDP, 0},   /* 5 TFTP */
    {137, IPPROTO_UDP, 0},  /* 6 NetBIOS names */
    {138, IPPROTO_UDP, 0},  /* 7 NetBIOS datagrams */
    {1900, IPPROTO_UDP, 0}, /* 8 SSDP */
};

#define BUILTIN_RULES (sizeof(builtin) / sizeof(builtin[0]))

/* The destination port in `key`; false for packets without one. */
static __always_inline bool port_of(struct packet *p, struct port_key *key)
{
    struct udphdr *ports; /* TCP and UDP begin alike */

    if (p->later_fragment)
        return false;
    if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
        return false;
    ports = take(p, sizeof(*ports));
    if (!ports)
        return false;
    key->port = bpf_ntohs(ports->dest);
    key->protocol = p->protocol;
    key->unused = 0;
    return true;
}

static __always_inline __u32 judge(const struct port_key *key, __u64 bytes)
{
    struct rule *rule = bpf_map_lookup_elem(&port_rules, key);

    if (rule) {
        count(&rule_hits, rule->id, bytes);
        return rule->action == XDP_DROP ? XDP_DROP : XDP_PASS;
    }
    if (!use_builtin)
        return XDP_PASS;
    for (__u32 id = 0; id < BUILTIN_RULES; id++) {
        if (builtin[id].port == key->port && builtin[id].protocol == key->protocol) {
            count(&rule_hits, id, bytes);
            return XDP_DROP;
        }
    }
    return XDP_PASS;
}

SEC("xdp")
int portfw(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    __u32 action = XDP_PASS;
    struct port_key key;
    struct packet p;

    if (parse_link(ctx, &p) && parse_network(&p) && port_of(&p, &key))
        action = judge(&key, bytes);
    count(&action_hits, action, bytes);
    return action;
}

/* No helper used here is GPL-only in Linux 6.18; bpf_trace_printk would be. */
char _license[] SEC("license") = "GPL";
