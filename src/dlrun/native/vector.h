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

#define V 8 // runs in a vector: eight floats fill a register of x86-64-v3

typedef float vf __attribute__((vector_size(4 * V)));
typedef int32_t vi __attribute__((vector_size(4 * V)));
typedef uint32_t vu __attribute__((vector_size(4 * V)));
typedef double vd __attribute__((vector_size(8 * V)));
typedef int64_t vl __attribute__((vector_size(8 * V)));
typedef uint64_t vw __attribute__((vector_size(8 * V)));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vf splat(float a) { return (vf){} + a; }
INLINE vd splat_d(double a) { return (vd){} + a; }

// a * b + c, rounded once
INLINE vf mad(vf a, vf b, vf c) {
#if defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  vf r;
  for (int l = 0; l < V; l++) r[l] = __builtin_fmaf(a[l], b[l], c[l]);
  return r;
#endif
}

INLINE vf root(vf a) {
#if defined(__AVX__)
  return (vf)_mm256_sqrt_ps((__m256)a);
#else
  vf r;
  for (int l = 0; l < V; l++) r[l] = __builtin_sqrtf(a[l]);
  return r;
#endif
}

INLINE vd root_d(vd a) {
  vd r;
#if defined(__AVX__)
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
#if defined(__AVX__)
  return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
  return (vf)(((vi)a & mask) | ((vi)b & ~mask));
#endif
}
INLINE vd choose_d(vl mask, vd a, vd b) { return (vd)(((vl)a & mask) | ((vl)b & ~mask)); }

// Whether the mask holds for any lane: for choosing among ways that give the same numbers
INLINE int any(vi mask) {
  int32_t found = 0;
  for (int l = 0; l < V; l++) found |= mask[l];
  return found != 0;
}

// The larger and the smaller of two numbers; b where one of them is NaN
INLINE vf larger(vf a, vf b) {
#if defined(__AVX__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return choose(a > b, a, b);
#endif
}
INLINE vf smaller(vf a, vf b) {
#if defined(__AVX__)
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return choose(a < b, a, b);
#endif
}

INLINE vf magnitude(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vf negative(vf a) { return (vf)((vi)a ^ (int32_t)0x80000000); }

// -1, 0 or 1; 0 for NaN, as torch has it
INLINE vf sign(vf a) { return (vf)((vi)splat(1.0f) & (a > 0)) - (vf)((vi)splat(1.0f) & (a < 0)); }

INLINE vf narrow(vd a) {
#if defined(__AVX__)
  __m256d halves[2];
  memcpy(halves, &a, sizeof a);
  return (vf)_mm256_set_m128(_mm256_cvtpd_ps(halves[1]), _mm256_cvtpd_ps(halves[0]));
#else
  return __builtin_convertvector(a, vf);
#endif
}
// Lane by lane, the number of the vector at a place of that lane's own
INLINE vf gather(const vf *from, vi place) {
#if defined(__AVX2__)
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

#endif
