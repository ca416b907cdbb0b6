// Functions of a vector of numbers, each within 4 units in the last place over all floats (tests/native/test_functions.py tries
// them, tests/floats.py prints how far they are off). Polynomials are the ones of least greatest error that tests/native/minimax.py
// computes and prints.
//
// Numbers below 2^-126 are zeros, as arguments and as results. NaN gives NaN.
#ifndef DLRUN_FUNCTIONS_H
#define DLRUN_FUNCTIONS_H

#include "vector.h"

#define LN2_HIGH 0x1.62ep-1f       // log 2 to 12 bits, so that its product with a whole number below 2^12 is exact
#define LN2_LOW 0x1.0bfbe8p-15f    // the rest
#define SMALLEST 0x1p-126f
#define INFINITE __builtin_inff()

// The number held to [low, high]; NaN stays
INLINE vf clamp(vf x, float low, float high) { return smaller(splat(high), larger(splat(low), x)); }

// x = n log 2 + r with |r| <= log(2) / 2. The lowest bits of the float `shifted` hold n + bias, for |n| < 2^21.
typedef struct {
  vf shifted, r;
} Reduced;

INLINE Reduced reduced(vf x, int bias) {
  vf shift = splat(0x1.8p23f + bias);
  vf shifted = mad(x, splat(0x1.715476p+0f), shift); // rounds x / log 2 to a whole number
  vf n = shifted - shift;
  return (Reduced){shifted, mad(n, splat(-LN2_LOW), mad(n, splat(-LN2_HIGH), x))};
}

// e^r for |r| <= log(2) / 2
INLINE vf exp_near_zero(vf r) {
  vf p = mad(splat(0x1.0fa32ep-7f), r, splat(0x1.573a24p-5f));
  p = mad(mad(p, r, splat(0x1.555a7ap-3f)), r, splat(0x1.fffdc6p-2f));
  return mad(mad(p, r, splat(0x1.fffff6p-1f)), r, splat(1.0f));
}

// e^r - 1 for |r| <= log(2) / 2. The parts of a polynomial are computed side by side, here and below, where that is as exact.
INLINE vf expm1_near_zero(vf r) {
  vf rr = r * r, low = mad(splat(0x1.5554b4p-3f), r, splat(0x1.fffffep-2f));
  vf high = mad(splat(0x1.122538p-7f), r, splat(0x1.5556f6p-5f));
  return mad(mad(mad(splat(0x1.6b97a6p-10f), rr, high), rr, low), rr, r);
}

// e^x for x in [-88, 88]
INLINE vf exp_within(vf x) {
  Reduced d = reduced(x, 127);
  return exp_near_zero(d.r) * (vf)((vu)d.shifted << 23);
}

// e^x - 1 for x in [-80, 88]
INLINE vf expm1_within(vf x) {
  Reduced d = reduced(x, 127);
  vf power = (vf)((vu)d.shifted << 23);
  return mad(expm1_near_zero(d.r), power, power - 1.0f);
}

// e^x
INLINE vf exp_v(vf x) {
  Reduced d = reduced(x, 0);
  vf y = (vf)((vu)exp_near_zero(d.r) + ((vu)d.shifted << 23));
  y = (vf)((vi)y & (x >= -0x1.5d589ep+6f));            // the least float above log 2^-126
  return choose(x <= 0x1.62e42ep+6f, y, x * INFINITE); // log of the greatest float
}

// e^x - 1
INLINE vf expm1_v(vf x) {
  vf held = clamp(x, -80.0f, 89.0f);
  Reduced d = reduced(held, 126);
  vf half = (vf)((vu)d.shifted << 23); // 2^n / 2, since 2^128 is no float
  return choose(magnitude(x) < 0x1p-64f, x, mad(expm1_near_zero(d.r), half, half - 0.5f) * 2.0f);
}

// log(1 + m) for |m| <= 1/3
INLINE vf log1p_near_zero(vf m) {
  vf p = mad(splat(0x1.1b0c9cp-3f), m, splat(-0x1.35b3cep-3f));
  p = mad(mad(p, m, splat(0x1.1f9568p-3f)), m, splat(-0x1.515a6cp-3f));
  p = mad(mad(p, m, splat(0x1.99c32ep-3f)), m, splat(-0x1.000b1cp-2f));
  p = mad(mad(p, m, splat(0x1.555528p-2f)), m, splat(-0.5f));
  return mad(p, m * m, m);
}

// Of a positive float 2^e m with m in [2/3, 4/3): e times 2^23
INLINE vi exponent_bits(vf x) { return (vi)(((vu)x - 0x3f2aaaabu) & 0xff800000u); }

// log x for x in [2^-126, infinity)
INLINE vf log_within(vf x) {
  vi e = exponent_bits(x);
  vf m = (vf)((vu)x - (vu)e) - 1.0f;
  return mad(numbers(e), splat(0x1.62e43p-24f), log1p_near_zero(m));
}

// log x: minus infinity at 0, NaN below
INLINE vf log_v(vf x) {
  vf rest = choose(x < SMALLEST, choose(x > -SMALLEST, splat(-INFINITE), splat(__builtin_nanf(""))), x);
  return choose((x >= SMALLEST) & (x < INFINITE), log_within(x), rest);
}

// log(1 + x) for x in (-1, infinity)
INLINE vf log1p_within(vf x) {
  vi e = exponent_bits(x + 1.0f);
  vf scale = (vf)(0x40800000u - (vu)e);                                        // 4 / 2^e
  vf m = (vf)((vu)x - (vu)e) + mad(splat(0.25f), scale, splat(-1.0f));        // (1 + x) / 2^e - 1, without rounding 1 + x
  return mad(numbers(e), splat(0x1.62e43p-24f), log1p_near_zero(m));
}

// log(1 + x): minus infinity at -1, NaN below
INLINE vf log1p_v(vf x) {
  vf rest = choose(x <= -1.0f, choose(x == -1.0f, splat(-INFINITE), splat(__builtin_nanf(""))), x);
  return choose((x > -1.0f) & (x < INFINITE), log1p_within(x), rest);
}

// log(1 + e) for e in [0, 1]
INLINE vf log1p_of_share(vf e) {
  vf p = mad(splat(0x1.3a1aa8p-8f), e, splat(-0x1.c55806p-6f));
  p = mad(mad(p, e, splat(0x1.33902ap-4f)), e, splat(-0x1.120a34p-3f));
  p = mad(mad(p, e, splat(0x1.845cbap-3f)), e, splat(-0x1.fbf5f6p-3f));
  p = mad(mad(p, e, splat(0x1.5520f8p-2f)), e, splat(-0x1.fffddp-2f));
  return mad(p, e, splat(0x1.fffffep-1f)) * e;
}

// log(1 + e^x)
INLINE vf softplus(vf x) {
  vf size = smaller(splat(88.0f), magnitude(x));
  return larger(splat(0.0f), x) + log1p_of_share(exp_within(-size));
}

INLINE vf logsigmoid(vf x) { return -softplus(-x); }

// 1 / (1 + e^-x); beyond 88 the result is below 2^-126
INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp_within(clamp(-x, -80.0f, 88.0f))); }

// m / (m + 2), m = e^(2x) - 1; 1 beyond 10 in the last bit
INLINE vf tanh_v(vf x) {
  vf m = expm1_within(clamp(x + x, -20.0f, 20.0f));
  return m / (m + 2.0f);
}

// The normal distribution's Phi(x) and e^(-x^2 / 2), which is sqrt(2 pi) times its density
typedef struct {
  vf cdf, bell;
} Normal;

// Phi(-t) = e^(-t^2 / 2) p(u) u for t >= 0 and u = 1 / (1 + t / 4)
INLINE Normal normal(vf x) {
  vf t = smaller(splat(13.25f), magnitude(x)), square = t * t, quarter = t * 0.25f;
  vf v = 1.0f + quarter, lost = quarter - (v - 1.0f), u = 1.0f / v;
  Reduced d = reduced(square * -0.5f, 127);
  vf rest = mad(t, t, -square); // what the square lost by rounding
  vf m = expm1_near_zero(mad(rest, splat(-0.5f), d.r)), power = (vf)((vu)d.shifted << 23);
  vf w = mad(u, mad(-u, lost, mad(-u, v, splat(1.0f))), u - 0.25f); // u - 1/4, with what u and v lost
  vf ww = w * w;
  vf top = mad(mad(splat(-0x1.3ef09ep-5f), w, splat(0x1.09c4f2p-5f)), ww, mad(splat(0x1.35b3eep-4f), w, splat(0x1.23e1aap-3f)));
  top = mad(mad(splat(0x1.079d84p-6f), w, splat(-0x1.869f26p-6f)), ww * ww, top);
  vf p = mad(mad(mad(top, w, splat(0x1.6f776ap-3f)), w, splat(0x1.7d9bdep-3f)), w, splat(0x1.5547eep-3f));
  vf above = mad(p, w, splat(0x1.f7dfa8p-28f)), constant = splat(0x1.0e7dccp-3f), sum = above + constant;
  vf part = sum - above, off = (above - (sum - part)) + (constant - part); // what the sum lost by rounding
  p = mad(sum, w, mad(off, u, sum * 0.25f));
  vf tail = mad(p, m, p) * power;
  return (Normal){choose(x < 0.0f, tail, 1.0f - tail), mad(m, power, power)};
}

// x^p in double precision, since the exponent p log2(x) needs more digits than the result. NaN for x < 0; x^0 = 1.
static __attribute__((noinline, unused)) vf any_power(vf x, vf p) {
  vi e = exponent_bits(x);
  vd m = widen((vf)((vu)x - (vu)e)), s = (m - 1.0) / (m + 1.0), z = s * s;
  vd log2 = 0x1.2778a4960e3f1p-1 + z * (0x1.a513ac2b7cbd5p-2 + z * 0x1.64bbf29134466p-2);
  log2 = s * (0x1.71547652d7f1fp+1 + z * (0x1.ec709b5a16c66p-1 + z * log2));
  vd y = widen(p) * (log2 + widen(numbers(e) * 0x1p-23f));
  y = choose_d(y < 160.0, choose_d(y > -160.0, y, splat_d(-160.0)), splat_d(160.0));
  vd shift = splat_d(0x1.8p52 + 1023), shifted = y + shift, r = y - (shifted - shift);
  vd root = 0x1.c6aed4b9515b2p-5 + r * (0x1.3b2dbbc15392bp-7 + r * (0x1.5f456a8a70d39p-10 + r * 0x1.41d3332ca4f4bp-13));
  root = 0x1.0000000261507p+0 + r * (0x1.62e430c7e9241p-1 + r * (0x1.ebfbdadcb0421p-3 + r * root));
  vf result = narrow(root * (vd)((vl)shifted << 52));
  vf at_infinity = choose(p > 0.0f, splat(INFINITE), splat(0.0f)), at_zero = choose(p > 0.0f, splat(0.0f), splat(INFINITE));
  vf rest = choose(magnitude(x) < SMALLEST, at_zero, choose(x == INFINITE, at_infinity, splat(__builtin_nanf(""))));
  result = choose((x >= SMALLEST) & (x < INFINITE), result, rest);
  return choose(p == 0.0f, splat(1.0f), result);
}

// x^p for x >= 0; x times x for p = 2 and a root for p = 1/2, which is why lanes with other p take a longer way alone
INLINE vf power(vf x, vf p) {
  vi square = p == 2.0f, same = p == 1.0f, half = p == 0.5f, nothing = p == 0.0f, easy = square | same | half | nothing;
  vf found = choose(square, x * x, choose(same, x, choose(half, root(x), splat(1.0f))));
  return any(~easy) ? choose(easy, found, any_power(x, p)) : found;
}

// In double precision: series, of which what is left out is below half a unit in the last place

#define LN2_HIGH_D 0x1.62e42fefap-1     // log 2 to 37 bits, so that its product with an exponent is exact
#define LN2_LOW_D 0x1.cf79abc9e3b3ap-40 // the rest
#define QUARTER_HIGH 0x1.921fb54442d18p+0 // pi / 2 to 50 bits, so that its product with a whole number up to 7 is exact
#define QUARTER_LOW 0x1.1a62633145c07p-54 // the rest

// log x for x in [2^-1022, infinity): n log 2 + 2 atanh((m - 1) / (m + 1)) where x = 2^n m with m in [sqrt(1/2), sqrt(2))
INLINE vd log_d(vd x) {
  const vw power = ((vw)x + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu)) >> 52; // n + 1023
  const vd n = (vd)(power | 0x4330000000000000u) - (0x1p52 + 1023.0), m = (vd)((vw)x - ((power - 1023) << 52));
  const vd s = (m - 1.0) / (m + 1.0), z = s * s;
  vd p = z * (2.0 / 19) + 2.0 / 17;
  p = ((p * z + 2.0 / 15) * z + 2.0 / 13) * z + 2.0 / 11;
  p = (((p * z + 2.0 / 9) * z + 2.0 / 7) * z + 2.0 / 5) * z + 2.0 / 3;
  return n * LN2_HIGH_D + (2.0 * s + (p * z * s + n * LN2_LOW_D));
}

typedef struct {
  vd sine, cosine;
} Turn;

// Sine and cosine of an angle between -2 pi and 2 pi: those of what it lacks of whole quarters of a turn, up to signs
INLINE Turn turn(vd angle) {
  const vd shift = splat_d(0x1.8p52), shifted = angle * 0x1.45f306dc9c883p-1 + shift, quarters = shifted - shift;
  const vd r = angle - quarters * QUARTER_HIGH - quarters * QUARTER_LOW, z = r * r;
  vd p = z * (1.0 / 355687428096000) - 1.0 / 1307674368000, q = z * (1.0 / 20922789888000) - 1.0 / 87178291200;
  p = ((p * z + 1.0 / 6227020800) * z - 1.0 / 39916800) * z + 1.0 / 362880;
  p = ((p * z - 1.0 / 5040) * z + 1.0 / 120) * z - 1.0 / 6;
  q = ((q * z + 1.0 / 479001600) * z - 1.0 / 3628800) * z + 1.0 / 40320;
  q = ((q * z - 1.0 / 720) * z + 1.0 / 24) * z - 0.5;
  const vd sine = p * z * r + r, cosine = q * z + 1.0;
  const vl odd = -((vl)shifted & 1), turned = (vl)shifted << 62 & INT64_MIN, before = ((vl)shifted + 1) << 62 & INT64_MIN;
  return (Turn){(vd)((vl)choose_d(odd, cosine, sine) ^ turned), (vd)((vl)choose_d(odd, sine, cosine) ^ before)};
}

#endif
