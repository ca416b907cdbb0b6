// Powers in double, in operations that are rounded exactly and so give the same bits everywhere.
//
//     power_begin, power_next   b^t for t = t0, t0 + 1, ...: one or two products a step, the same number wherever one begins
//     real_power                x^a for positive x, to 1e-13 of the value
#ifndef DLRUN_POWERS_H
#define DLRUN_POWERS_H

#include "vector.h"

typedef uint64_t vul __attribute__((vector_size(8 * V)));

// b^t as high * low: high = b^(t - t % STRIDE) by repeated squaring, low the product of t % STRIDE factors b
typedef struct {
  vd base, high, low;
} Power;

enum { STRIDE = 64 };

static vd whole_power(vd base, int64_t n) {
  vd power = splat_d(1.0);
  for (; n > 0; n >>= 1, base *= base)
    if (n & 1) power *= base;
  return power;
}

static void power_begin(Power *p, vd base, int64_t t) {
  p->base = base;
  p->high = whole_power(base, t - t % STRIDE);
  p->low = splat_d(1.0);
  for (int64_t i = 0; i < t % STRIDE; i++) p->low *= base;
}

// base^t, after base^(t - 1)
INLINE vd power_next(Power *p, int64_t t) {
  if (t % STRIDE == 0)
    power_begin(p, p->base, t);
  else
    p->low *= p->base;
  return p->high * p->low;
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
static vd logarithm_d(vd x) {
  const uint64_t half_root = 0x3fe6a09e667f3bcd, bias = (uint64_t)1024 << 52; // the bits of sqrt(1/2)
  vul exponent = ((vul)x - half_root + bias) >> 52;
  vd m = (vd)((vul)x - ((exponent - 1024) << 52)); // sqrt(1/2) <= m < sqrt(2), x = 2^e m
  vd e = (vd)(exponent | 0x4330000000000000) - (0x1p52 + 1024.0);
  vd s = (m - 1.0) / (m + 1.0), z = s * s; // log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172
  vd sum = splat_d(ODD[10]);
  for (int n = 9; n >= 0; n--) sum = sum * z + ODD[n];
  return e * LOG2_HIGH + (e * LOG2_LOW + (2.0 * s + 2.0 * s * (z * sum)));
}

INLINE vd two_to(vd k) { return (vd)(((vl)(k + ROUNDER) + 1023) << 52); } // for whole k from -1022 to 1023

// e^y; infinite or 0 where that is too large or too small for a double
static vd exponential_d(vd y) {
  y = choose_d(y > 1400.0, splat_d(1400.0), y);
  y = choose_d(y < -1400.0, splat_d(-1400.0), y);
  vd k = (y * 0x1.71547652b82fep0 + ROUNDER) - ROUNDER;
  vd r = (y - k * LOG2_HIGH) - k * LOG2_LOW; // |r| <= log(2) / 2
  vd sum = splat_d(FACTORIAL[13]);
  for (int n = 12; n >= 0; n--) sum = sum * r + FACTORIAL[n];
  vd half = (k * 0.5 + ROUNDER) - ROUNDER;
  return sum * two_to(half) * two_to(k - half);
}

static vd real_power(vd x, vd a) { return exponential_d(a * logarithm_d(x)); }

void dlrun_powers(const vd *x, const vd *a, vd *out, long count) {
  for (long i = 0; i < count; i++) out[i] = real_power(x[i], a[i]);
}

#endif
