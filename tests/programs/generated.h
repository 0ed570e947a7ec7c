/* Repetition by the preprocessor, for programs of several thousand instructions. */
#ifndef CORPUS_GENERATED_H
#define CORPUS_GENERATED_H

#define R4(m, n) m((n)) m((n) + 1) m((n) + 2) m((n) + 3)
#define R16(m, n) R4(m, (n)) R4(m, (n) + 4) R4(m, (n) + 8) R4(m, (n) + 12)
#define R64(m, n) R16(m, (n)) R16(m, (n) + 16) R16(m, (n) + 32) R16(m, (n) + 48)
#define R256(m, n) R64(m, (n)) R64(m, (n) + 64) R64(m, (n) + 128) R64(m, (n) + 192)
/* Spreads a small number over 32 bits, at compile time. */
#define SPREAD(n) (((n) * 2654435761U) ^ ((n) * 40503U << 7))
/* Keeps the compiler from merging repetitions. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* A copy that the compiler cannot see through. */
#define COPY(to, from) asm volatile("%0 = %1" : "=r"(to) : "r"(from))

#endif
