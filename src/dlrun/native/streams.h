// The counter-based streams of dlrun.streams, number for number: SplitMix64 (Steele, Lea & Flood 2014) read at random access.
#ifndef DLRUN_STREAMS_H
#define DLRUN_STREAMS_H

#include "vector.h"

#define GAMMA 0x9E3779B97F4A7C15u // odd, so that consecutive counters land far apart

INLINE uint64_t scramble(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
  return word ^ (word >> 31);
}

// The low 64 bits of a product: x86-64-v3 multiplies vectors of 32 bits alone
INLINE vw times(vw a, uint64_t b) {
#if V == 8 && defined(X86)
  typedef union {
    vw all;
    __m256i half[2];
  } Halves;
  Halves in = {.all = a}, out;
  const __m256i low = _mm256_set1_epi64x((long long)b), high = _mm256_set1_epi64x((long long)(b >> 32));
  for (int i = 0; i < 2; i++) {
    __m256i cross = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(in.half[i], 32), low), _mm256_mul_epu32(in.half[i], high));
    out.half[i] = _mm256_add_epi64(_mm256_mul_epu32(in.half[i], low), _mm256_slli_epi64(cross, 32));
  }
  return out.all;
#else
  return a * b;
#endif
}

INLINE vw scramble_each(vw word) {
  word = times(word ^ (word >> 30), 0xBF58476D1CE4E5B9u);
  word = times(word ^ (word >> 27), 0x94D049BB133111EBu);
  return word ^ (word >> 31);
}

// The key of part `number` of what `key` stands for: an epoch, a step of it, a layer in it
INLINE uint64_t derive(uint64_t key, uint64_t number) { return scramble(key + (number + 1) * GAMMA); }
INLINE vw derive_each(vw keys, uint64_t number) { return scramble_each(keys + (number + 1) * GAMMA); }

// Number i of a stream: 64 random bits for each run
INLINE vw bits_at(vw keys, long i) { return scramble_each(keys + (uint64_t)(i + 1) * GAMMA); }

// A uniform number in [0, 1), of 24 bits
INLINE vf uniform_of(vw word) { return numbers(__builtin_convertvector((vl)(word >> 40), vi)) * 0x1p-24f; }

// The same of 53 bits. The halves of a word become the last bits of 2^52 and of 2^84, which is exact.
INLINE vd uniform_d_of(vw word) {
  const vw whole = word >> 11;
  const vd low = (vd)((whole & 0xffffffffu) | 0x4330000000000000u) - 0x1p52;
  const vd high = (vd)((whole >> 32) | 0x4530000000000000u) - 0x1p84;
  return (high + low) * 0x1p-53;
}

// Of the four numbers of 16 bits in a word the k-th, with its sign
INLINE vi sixteen_of(vw word, long k) { return __builtin_convertvector((vl)(word << (48 - 16 * k)) >> 48, vi); }

// A random order of 0 .. n-1 in `order`: random words that carry their index in the low bits, sorted as signed numbers.
//
// They are dealt out by their leading bits, about one to a bucket, and straightened by insertion: linear in n. `order` and `dealt`
// have room for n words, `ends` for as many as `buckets` says and one more.
INLINE int64_t buckets(int64_t n) {
  int64_t count = 2;
  while (count < n) count *= 2;
  return count;
}

static void permute(uint64_t key, int64_t n, uint64_t *order, uint64_t *dealt, int32_t *ends) {
  uint64_t *words = order;
  const int64_t count = buckets(n);
  const uint64_t low = (uint64_t)count - 1; // bits of an index: those of n - 1, and at least one
  const int shift = 64 - __builtin_ctzll((uint64_t)count);
  memset(ends, 0, (size_t)(count + 1) * sizeof *ends);
  for (int64_t i = 0; i < n; i++) {
    // with the sign bit flipped the order of signed numbers is that of unsigned ones
    words[i] = ((scramble(key + (uint64_t)(i + 1) * GAMMA) & ~low) | (uint64_t)i) ^ (1ull << 63);
    ends[(words[i] >> shift) + 1]++;
  }
  for (int64_t b = 0; b < count; b++) ends[b + 1] += ends[b];
  for (int64_t i = 0; i < n; i++) dealt[ends[words[i] >> shift]++] = words[i];
  for (int64_t i = 1; i < n; i++) {
    const uint64_t word = dealt[i];
    int64_t at = i;
    for (; at > 0 && dealt[at - 1] > word; at--) dealt[at] = dealt[at - 1];
    dealt[at] = word;
  }
  for (int64_t i = 0; i < n; i++) order[i] = dealt[i] & low;
}

#endif
