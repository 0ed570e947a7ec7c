// A CO-RE relocation against a kernel structure, and a helper that XDP in user space has not.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

SEC("xdp")
int with_core(struct xdp_md *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return __builtin_preserve_field_info(task->tgid, 0) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
