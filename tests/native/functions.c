// Every function of functions.h beside its exact value in double: how far it is off, in units in the last place.
#include <math.h>
#include "functions.h"

static vf power_7_3(vf x) { return power(x, splat(7.0f / 3.0f)); }
static vf root_by_power(vf x) { return power(x, splat(0.5f)); }
static vf cdf(vf x) { return normal(x).cdf; }
static vf bell(vf x) { return normal(x).bell; }
static double exact_power_7_3(double x) { return x < 0 ? NAN : pow(x, 7.0f / 3.0f); }
static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double exact_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static double exact_logsigmoid(double x) { return x != x ? x : -exact_softplus(-x); }
static double exact_cdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
static double exact_bell(double x) { return exp(-0.5 * x * x); }
static double exact_root(double x) { return x < 0 ? NAN : sqrt(x); }

static const struct {
  const char *name;
  vf (*found)(vf);
  double (*exact)(double);
} FUNCTIONS[] = {
    {"exp", exp_v, exp},          {"expm1", expm1_v, expm1},
    {"log", log_v, log},          {"log1p", log1p_v, log1p},
    {"tanh", tanh_v, tanh},       {"sigmoid", sigmoid, exact_sigmoid},
    {"cdf", cdf, exact_cdf},      {"softplus", softplus, exact_softplus},
    {"bell", bell, exact_bell},   {"logsigmoid", logsigmoid, exact_logsigmoid},
    {"x^7/3", power_7_3, exact_power_7_3}, {"x^1/2", root_by_power, exact_root},
};

const char *function_name(int f) { return f < (int)(sizeof FUNCTIONS / sizeof *FUNCTIONS) ? FUNCTIONS[f].name : NULL; }

// A number whose exponent is the least is a zero, as it is to the functions
static double flushed(float x) { return fabsf(x) < SMALLEST ? copysign(0.0, x) : x; }

// A unit in the last place of the float nearest to a number: 2^-23 of the power of two at or below it
static double last_place(double exact) {
  uint64_t bits;
  memcpy(&bits, &exact, 8);
  bits = (bits & 0x7ff0000000000000u) - (23ull << 52);
  double place;
  memcpy(&place, &bits, 8);
  return place;
}

// Infinity where one is NaN, or infinite where the other is not
static double error(float found, double exact) {
  if (isnan(exact) || isnan(found)) return isnan(exact) && isnan(found) ? 0 : INFINITY;
  if (fabs(exact) < SMALLEST) return fabsf(found) <= SMALLEST ? 0 : INFINITY;
  if (isinf(found)) return fabs(exact) > 0x1.fffffep127 && (found > 0) == (exact > 0) ? 0 : INFINITY;
  return isinf(exact) ? INFINITY : fabs(found - exact) / last_place(exact);
}

// The largest error over every `step`th float from that of the bits `first` to that of `last`, and the float
double worst_error(int f, uint64_t first, uint64_t last, uint64_t step, float *at) {
  double worst = 0;
  for (uint64_t i = first; i < last; i += V * step) {
    vf x;
    for (int l = 0; l < V; l++) {
      uint32_t bits = (uint32_t)(i + (uint64_t)l * step);
      float value;
      memcpy(&value, &bits, 4);
      x[l] = value;
    }
    vf found = FUNCTIONS[f].found(x);
    for (int l = 0; l < V; l++) {
      double e = error(found[l], FUNCTIONS[f].exact(flushed(x[l])));
      if (e > worst) worst = e, *at = x[l];
    }
  }
  return worst;
}
