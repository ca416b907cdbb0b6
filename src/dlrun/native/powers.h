// Powers in double, in operations that are rounded exactly and so give the same bits everywhere.
//
//     power_begin, power_next   b^t for t = t0, t0 + 1, ...: one or two products a step, the same number wherever one begins
//     real_power                x^a for positive x, to 1e-13 of the value
#ifndef DLRUN_POWERS_H
#define DLRUN_POWERS_H

#include "vector.h"

// Half of a vd fills a register, where gcc takes whole ones through memory at every turn. vd x is read as hd x[2].
typedef double hd __attribute__((vector_size(4 * V)));
typedef float hf __attribute__((vector_size(2 * V)));
typedef int64_t hl __attribute__((vector_size(4 * V)));
typedef uint64_t hul __attribute__((vector_size(4 * V)));

INLINE hd splat_h(double a) { return (hd){} + a; }
INLINE hd choose_h(hl mask, hd a, hd b) { return (hd)(((hl)a & mask) | ((hl)b & ~mask)); }
INLINE hf narrow_h(hd a) { return __builtin_convertvector(a, hf); }

INLINE hd mad_h(hd a, hd b, hd c) {
#if V == 8 && defined(X86)
  return (hd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  for (int l = 0; l < V / 2; l++) c[l] = __builtin_fma(a[l], b[l], c[l]);
  return c;
#endif
}

INLINE hd root_h(hd a) {
#if V == 8 && defined(X86)
  return (hd)_mm256_sqrt_pd((__m256d)a);
#else
  for (int l = 0; l < V / 2; l++) a[l] = __builtin_sqrt(a[l]);
  return a;
#endif
}

// b^t, now, as high * low: high = b^(t - t % STRIDE) by repeated squaring, low the product of t % STRIDE factors b
typedef struct {
  hd base, high, low, now;
} Power;

enum { STRIDE = 64 };

static hd whole_power(hd base, int64_t n) {
  hd power = splat_h(1.0);
  for (; n > 0; n >>= 1, base *= base)
    if (n & 1) power *= base;
  return power;
}

static void power_begin(Power *p, hd base, int64_t t) {
  p->base = base;
  p->high = whole_power(base, t - t % STRIDE);
  p->low = splat_h(1.0);
  for (int64_t i = 0; i < t % STRIDE; i++) p->low *= base;
  p->now = p->high * p->low;
}

// From base^(t - 1) to base^t
INLINE void power_next(Power *p, int64_t t) {
  if (t % STRIDE == 0) return power_begin(p, p->base, t);
  p->low *= p->base;
  p->now = p->high * p->low;
}

static const double ODD[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13,
                             1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
static const double FACTORIAL[] = {1.0,           1.0,           1.0 / 2,         1.0 / 6,          1.0 / 24,
                                   1.0 / 120,     1.0 / 720,     1.0 / 5040,      1.0 / 40320,      1.0 / 362880,
                                   1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

#define LOG2_HIGH 0x1.62e42feep-1 // the first 32 bits of log 2: its product with a whole number below 2^21 is exact
#define LOG2_LOW 0x1.a39ef35793c76p-33
#define ROUNDER 0x1.8p52 // adding and subtracting it rounds a double below 2^51 to a whole number

// log x for positive normal numbers
static hd logarithm(hd x) {
  const uint64_t half_root = 0x3fe6a09e667f3bcd, bias = (uint64_t)1024 << 52; // the bits of sqrt(1/2)
  hul exponent = ((hul)x - half_root + bias) >> 52;
  hd m = (hd)((hul)x - ((exponent - 1024) << 52)); // sqrt(1/2) <= m < sqrt(2), x = 2^e m
  hd e = (hd)(exponent | 0x4330000000000000) - (0x1p52 + 1024.0);
  hd s = (m - 1.0) / (m + 1.0), z = s * s; // log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172
  hd sum = splat_h(ODD[10]);
  for (int n = 9; n >= 0; n--) sum = mad_h(sum, z, splat_h(ODD[n]));
  return e * LOG2_HIGH + (e * LOG2_LOW + (2.0 * s + 2.0 * s * (z * sum)));
}

INLINE hd two_to(hd k) { return (hd)(((hl)(k + ROUNDER) + 1023) << 52); } // for whole k from -1022 to 1023

// e^y; infinite or 0 where that is too large or too small for a double
static hd exponential(hd y) {
  y = choose_h(y > 1400.0, splat_h(1400.0), y);
  y = choose_h(y < -1400.0, splat_h(-1400.0), y);
  hd k = (y * 0x1.71547652b82fep0 + ROUNDER) - ROUNDER;
  hd r = (y - k * LOG2_HIGH) - k * LOG2_LOW; // |r| <= log(2) / 2
  hd sum = splat_h(FACTORIAL[13]);
  for (int n = 12; n >= 0; n--) sum = mad_h(sum, r, splat_h(FACTORIAL[n]));
  hd half = (k * 0.5 + ROUNDER) - ROUNDER;
  return sum * two_to(half) * two_to(k - half);
}

static hd real_power(hd x, hd a) { return exponential(a * logarithm(x)); }

// x^a for arrays [count][V]
void dlrun_powers(const hd *x, const hd *a, hd *out, long count) {
  for (long i = 0; i < 2 * count; i++) out[i] = real_power(x[i], a[i]);
}

#endif
