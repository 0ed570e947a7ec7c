/* input.c - the reader's buffer: chunks of read(2) behind what is left of the chunk before. */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "system.h"

/* Under AddressSanitizer what lies behind the input counts as out of bounds, so that a length that is believed too early
 * shows. */
#ifdef __SANITIZE_ADDRESS__
#define PF_INPUT_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PF_INPUT_POISON 1
#endif
#endif
#ifdef PF_INPUT_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define LINE 64u
#define CHUNK_MIN 64u
#define CHUNK_MAX (16u << 20)

static size_t round_up(size_t n) { return (n + LINE - 1) & ~(size_t)(LINE - 1); }

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum pf_err pf_input_open(struct pf_input *in, int fd, uint32_t chunk, struct pf_diag *diag)
{
	if (!chunk)
		chunk = PF_READER_CHUNK;
	if (chunk < CHUNK_MIN)
		chunk = CHUNK_MIN;
	if (chunk > CHUNK_MAX)
		chunk = CHUNK_MAX;
	memset(in, 0, sizeof *in);
	in->fd = fd;
	in->chunk = chunk;
	/* Room for a whole chunk behind the rest of the one before; the second half is touched by long records only. */
	in->capacity = round_up(PF_INPUT_SLACK + 2 * (size_t)chunk);
	in->limit = PF_READER_RECORD_MAX;
	in->memory = aligned_alloc(LINE, in->capacity);
	if (!in->memory)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_OPEN, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	in->cur = in->end = in->memory + PF_INPUT_SLACK;
	/* Advice only: pipes and sockets refuse it. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return PF_OK;
}

void pf_input_put_back(struct pf_input *in, const uint8_t *bytes, size_t count)
{
	if (PF_BUG_ON(count > LINE || in->bytes_read))
		return;
	memcpy(in->end, bytes, count);
	in->end += count;
	in->bytes_read = count;
}

void pf_input_close(struct pf_input *in)
{
	if (!in->memory)
		return;
	ASAN_UNPOISON_MEMORY_REGION(in->memory, in->capacity);
	free(in->memory);
	in->memory = NULL;
}

/* Moves the unread bytes to the front, where the read(2) behind them starts on a cache line. Once they are there they
 * stay, so that a record longer than the chunk is moved once and not for every read. */
static void move_to_front(struct pf_input *in)
{
	size_t left = pf_input_left(in);
	uint8_t *end = in->memory + PF_INPUT_SLACK + round_up(left);

	if (in->cur < in->memory + PF_INPUT_SLACK + LINE)
		return;
	memmove(end - left, in->cur, left);
	in->cur = end - left;
	in->end = end;
}

/* The buffer is full of one unfinished record: twice the room, so that memory stays within twice the bytes that came. */
static enum pf_err grow(struct pf_input *in)
{
	size_t left = pf_input_left(in), front = (size_t)(in->cur - in->memory);
	size_t most = round_up(PF_INPUT_SLACK + LINE + in->limit), capacity = 2 * in->capacity;
	uint8_t *memory;

	if (capacity > most)
		capacity = most;
	memory = aligned_alloc(LINE, capacity);
	if (!memory)
		return PF_ENOMEM;
	memcpy(memory + front, in->cur, left);
	ASAN_UNPOISON_MEMORY_REGION(in->memory, in->capacity);
	free(in->memory);
	in->memory = memory;
	in->capacity = capacity;
	in->cur = memory + front;
	in->end = in->cur + left;
	return PF_OK;
}

enum pf_err pf_input_exchange(struct pf_input *in, struct pf_chunk *chunk)
{
	const size_t left = pf_input_left(in), need = round_up(PF_INPUT_SLACK + 2 * (size_t)in->chunk + left);
	const struct pf_chunk mine = {.memory = in->memory, .capacity = in->capacity};

	if (chunk->capacity < need) {
		uint8_t *memory = aligned_alloc(LINE, need);

		if (!memory)
			return PF_ENOMEM;
		free(chunk->memory);
		*chunk = (struct pf_chunk){.memory = memory, .capacity = need};
	}
	ASAN_UNPOISON_MEMORY_REGION(mine.memory, mine.capacity);
	in->memory = chunk->memory;
	in->capacity = chunk->capacity;
	in->end = in->memory + PF_INPUT_SLACK + round_up(left);
	memcpy(in->end - left, in->cur, left);
	in->cur = in->end - left;
	*chunk = mine;
	return PF_OK;
}

enum pf_err pf_input_refill(struct pf_input *in, struct pf_diag *diag)
{
	size_t room, most = in->limit - pf_input_left(in);
	char text[PF_NAME_MAX];
	uint64_t start;
	ssize_t n;
	int number;

	ASAN_UNPOISON_MEMORY_REGION(in->memory, in->capacity);
	move_to_front(in);
	if (in->end == in->memory + in->capacity && grow(in))
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_READ, 0, in->bytes_read, 0, 0, pf_err_text(PF_ENOMEM));
	room = in->capacity - (size_t)(in->end - in->memory);
	if (room > in->chunk)
		room = in->chunk;
	if (room > most)
		room = most;
	start = now_ns();
	n = read(in->fd, in->end, room);
	number = errno;
	in->read_ns += now_ns() - start;
	if (n > 0) {
		in->end += n;
		in->bytes_read += (uint64_t)n;
	}
	ASAN_POISON_MEMORY_REGION(in->end, in->capacity - (size_t)(in->end - in->memory));
	if (n < 0) {
		pf_system_text(number, text);
		return pf_diag_set(diag, pf_system_err(number), PF_DIAG_IO_READ, 0, in->bytes_read, 0, 0, text);
	}
	if (!n)
		in->eof = true;
	return PF_OK;
}
