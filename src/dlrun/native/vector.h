// Vectors of V runs, and the few operations on them that C's own operators lack.
//
// A run is a lane. Nothing here, and nothing in the kernel, adds or compares across lanes, so what a run computes depends neither
// on its neighbours nor on how a processor splits a vector. The kernel is compiled with -ffp-contract=off: a product and a sum
// are fused where the source says `mad`, and nowhere else, so all builds round alike.
#ifndef DLRUN_VECTOR_H
#define DLRUN_VECTOR_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef V
#define V 8 // runs in a vector: eight floats fill a register of x86-64-v3
#endif

typedef float vf __attribute__((vector_size(4 * V), aligned(32)));
typedef int32_t vi __attribute__((vector_size(4 * V)));
typedef uint32_t vu __attribute__((vector_size(4 * V)));
typedef double vd __attribute__((vector_size(8 * V)));
typedef int64_t vl __attribute__((vector_size(8 * V)));
typedef uint64_t vw __attribute__((vector_size(8 * V)));

#define INLINE static inline __attribute__((always_inline, unused))

// The processor's operations on a register that a vf fills
#if V == 8 && defined(__AVX2__) && defined(__FMA__)
#define X86(name) _mm256_##name
typedef __m256 Floats;
#elif V == 16 && defined(__AVX512F__)
#define X86(name) _mm512_##name
typedef __m512 Floats;
#endif

INLINE vf splat(float a) { return (vf){} + a; }
INLINE vd splat_d(double a) { return (vd){} + a; }

// a * b + c, rounded once
INLINE vf mad(vf a, vf b, vf c) {
#ifdef X86
  return (vf)X86(fmadd_ps)((Floats)a, (Floats)b, (Floats)c);
#else
  vf r;
  for (int l = 0; l < V; l++) r[l] = __builtin_fmaf(a[l], b[l], c[l]);
  return r;
#endif
}

INLINE vf root(vf a) {
#ifdef X86
  return (vf)X86(sqrt_ps)((Floats)a);
#else
  vf r;
  for (int l = 0; l < V; l++) r[l] = __builtin_sqrtf(a[l]);
  return r;
#endif
}

INLINE vd root_d(vd a) {
  vd r;
#if V == 8 && defined(X86)
  __m256d halves[2];
  memcpy(halves, &a, sizeof a);
  for (int h = 0; h < 2; h++) halves[h] = _mm256_sqrt_pd(halves[h]);
  memcpy(&r, halves, sizeof r);
#else
  for (int l = 0; l < V; l++) r[l] = __builtin_sqrt(a[l]);
#endif
  return r;
}

// a where the mask is -1, b where it is 0
INLINE vf choose(vi mask, vf a, vf b) {
#if V == 16 && defined(X86)
  return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)b, (__m512)a);
#elif defined(X86)
  return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
  return (vf)(((vi)a & mask) | ((vi)b & ~mask));
#endif
}
INLINE vd choose_d(vl mask, vd a, vd b) { return (vd)(((vl)a & mask) | ((vl)b & ~mask)); }

// The mask of some lanes
INLINE vi lanes_from(int64_t first, int64_t count) {
  vi mask;
  for (int l = 0; l < V; l++) mask[l] = -(l >= first && l < first + count);
  return mask;
}

// Whether the mask holds for any lane: for choosing among ways that give the same numbers
INLINE int any(vi mask) {
  int32_t found = 0;
  for (int l = 0; l < V; l++) found |= mask[l];
  return found != 0;
}

// The larger and the smaller of two numbers; b where one of them is NaN
INLINE vf larger(vf a, vf b) {
#ifdef X86
  return (vf)X86(max_ps)((Floats)a, (Floats)b);
#else
  return choose(a > b, a, b);
#endif
}
INLINE vf smaller(vf a, vf b) {
#ifdef X86
  return (vf)X86(min_ps)((Floats)a, (Floats)b);
#else
  return choose(a < b, a, b);
#endif
}

INLINE vf magnitude(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vf negative(vf a) { return (vf)((vi)a ^ (int32_t)0x80000000); }

// -1, 0 or 1; 0 for NaN, as torch has it
INLINE vf sign(vf a) { return (vf)((vi)splat(1.0f) & (a > 0)) - (vf)((vi)splat(1.0f) & (a < 0)); }

INLINE vf narrow(vd a) {
#if V == 8 && defined(X86)
  __m256d halves[2];
  memcpy(halves, &a, sizeof a);
  return (vf)_mm256_set_m128(_mm256_cvtpd_ps(halves[1]), _mm256_cvtpd_ps(halves[0]));
#else
  return __builtin_convertvector(a, vf);
#endif
}
// Lane by lane, the number of the vector at a place of that lane's own
INLINE vf gather(const vf *from, vi place) {
#if V == 8 && defined(X86)
  const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return (vf)_mm256_i32gather_ps((const float *)from, (__m256i)(place * V + lane), 4);
#else
  vf r;
  for (int l = 0; l < V; l++) r[l] = from[place[l]][l];
  return r;
#endif
}

INLINE vd widen(vf a) { return __builtin_convertvector(a, vd); }
INLINE vf numbers(vi a) { return __builtin_convertvector(a, vf); }
INLINE vi integers(vf a) { return __builtin_convertvector(a, vi); } // towards zero

// A pair: two numbers of each run in one register, where one holds as many, for sums of products. Elsewhere it is one number.
// Tiles (see layers.h) are as large as 16 registers allow, or 32. NARROW goes without, to compare.
#if V == 8 && defined(__AVX512F__) && !defined(NARROW)
#define PAIR 2
#define WIDE 1
typedef float vp __attribute__((vector_size(8 * V), aligned(32)));
#else
#define PAIR 1
#define WIDE 0
typedef vf vp;
#endif

#define PAIRS(count) (((count) + PAIR - 1) / PAIR)         // that hold so many numbers
#define HALF(i, count) ((i) == (count) / PAIR && PAIR > 1) // whether the i-th of them holds one alone

INLINE vp both(vf a) {
#if WIDE
  return (vp)_mm512_broadcast_f32x8((__m256)a);
#else
  return a;
#endif
}

// Two numbers that lie `step` apart; of half a pair the first one alone
INLINE vp pair_of(const vf *from, const long step, const int half) {
#if WIDE
  if (half) return (vp)_mm512_zextps256_ps512((__m256)*from);
  if (step == 1) return (vp)_mm512_loadu_ps(from);
  return (vp)_mm512_insertf32x8(_mm512_castps256_ps512((__m256)*from), (__m256)from[step], 1);
#else
  return *from;
#endif
}

INLINE void put_pair(vp a, vf *to, const long step, const int half) {
#if WIDE
  if (!half && step == 1) return _mm512_storeu_ps(to, (__m512)a);
  *to = (vf)_mm512_castps512_ps256((__m512)a);
  if (!half) to[step] = (vf)_mm512_extractf32x8_ps((__m512)a, 1);
#else
  *to = a;
#endif
}

INLINE vp mad_pair(vp a, vp b, vp c) {
#if WIDE
  return (vp)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
  return mad(a, b, c);
#endif
}

#endif
