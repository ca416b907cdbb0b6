// Penalties on weights and clipping of gradients, with the formulas of components/regularizers/penalties.py and engine/step.py.
//
//     penalties_begin(flags, numbers, &s)                                        once, or before any step
//     penalties_before(&s, weights, count, t, theta, grad, average, sides, P)    between the backward pass and the optimizer
//     penalties_behind(&s, weights, count, theta, sides)                         behind the optimizer
//
// In a step: the gradients of l1 (subgradient) and l2, the sides of l1 (proximal), clip_norm, clip_value; the optimizer; weights
// that left their side become 0; max_norm.
#ifndef DLRUN_PENALTIES_H
#define DLRUN_PENALTIES_H

#include "vector.h"

#define PENALTY_FLAGS(X) X(proximal) X(subgradient) X(l2) X(max_norm)

// Of each lane, in the order in which they are handed over. A lane without a limit has an infinite one.
#define PENALTY_NUMBERS(X) X(l1) X(l2) X(max_norm) X(clip_norm) X(clip_value)

#define PLACE(name) flag_##name,
#define FLAG(name) penalty_##name = 1 << flag_##name,
#define NUMBER(name) number_##name,
#define FIELD(name) vf name;
enum { PENALTY_FLAGS(PLACE) };
enum { PENALTY_FLAGS(FLAG) };
enum { PENALTY_NUMBERS(NUMBER) };
typedef struct {
  PENALTY_NUMBERS(FIELD)
  int flags, clips_norm, clips_value;
  vi penalized; // the lanes with a weight of l1 above 0
} Penalties;
#undef PLACE
#undef FLAG
#undef NUMBER
#undef FIELD

// A matrix of weights in theta: units x inputs numbers from `start` on, the units outermost (a convolution) or innermost (a
// linear layer [in, out])
typedef struct {
  int64_t start, units, inputs, outermost;
} Weight;

static void penalties_begin(int flags, const vd *numbers, Penalties *s) {
  s->flags = flags;
  s->l1 = narrow(numbers[number_l1]);
  s->l2 = narrow(2.0 * numbers[number_l2]);
  s->max_norm = narrow(numbers[number_max_norm]);
  s->clip_norm = narrow(numbers[number_clip_norm]);
  s->clip_value = narrow(numbers[number_clip_value]);
  s->clips_norm = any(s->clip_norm < __builtin_inff());
  s->clips_value = any(s->clip_value < __builtin_inff());
  s->penalized = s->l1 > 0.0f;
}

static void add_gradients(const Penalties *restrict s, const vf *restrict theta, vf *restrict grad, long count) {
  for (long p = 0; p < count; p++) {
    vf w = theta[p], g = grad[p];
    if (s->flags & penalty_subgradient) g += s->l1 * sign(w);
    if (s->flags & penalty_l2) g = mad(s->l2, w, g);
    grad[p] = g;
  }
}

// L1.choose for weights in a row: the average of the gradient, the side of each weight, the gradient of loss and penalty there
static void choose_sides(const Penalties *restrict s, int64_t t, const vf *restrict theta, vf *restrict grad,
                         vf *restrict average, vf *restrict sides, long count) {
  const vf rate = splat((float)(4.0 / (double)(t + 3))), slope = s->l1, lowest = -slope;
  const int far = rate[0] >= 0.5f;
  for (long p = 0; p < count; p++) {
    vf g = grad[p], a = average[p];
    a = average[p] = far ? mad(rate - 1.0f, g - a, g) : mad(rate, g - a, a);
    vf pull = larger(lowest, smaller(slope, a)) - a;
    vf side = sides[p] = sign(choose(theta[p] == 0.0f, pull, theta[p]));
    grad[p] = choose(s->penalized, mad(g, side, slope) * side, g);
  }
}

// The length of the gradient over all parameters: four sums, each in the order of theta
static vf gradient_norm(const vf *grad, long P) {
  vf sums[4] = {};
  long p = 0;
  for (; p + 4 <= P; p += 4)
    for (int k = 0; k < 4; k++) sums[k] = mad(grad[p + k], grad[p + k], sums[k]);
  for (int k = 0; p + k < P; k++) sums[k] = mad(grad[p + k], grad[p + k], sums[k]);
  return root((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// A lane without limits keeps its bits. NaN stays where clip_value finds it, and reaches all parameters of its lane by clip_norm.
static void clip(const Penalties *s, vf *grad, long P) {
  if (s->clips_norm) {
    vf scale = smaller(splat(1.0f), s->clip_norm / (gradient_norm(grad, P) + 1e-6f));
    scale = choose(s->clip_norm < __builtin_inff(), scale, splat(1.0f));
    for (long p = 0; p < P; p++) grad[p] *= scale;
  }
  if (s->clips_value)
    for (long p = 0; p < P; p++) grad[p] = larger(-s->clip_value, smaller(s->clip_value, grad[p]));
}

// What changes the gradient in step t. `average` [P] is kept from step to step, `sides` [P] until penalties_behind; both are used
// by l1 (proximal) alone, where there are weights.
static void penalties_before(const Penalties *s, const Weight *weights, long count, int64_t t, const vf *theta, vf *grad,
                             vf *average, vf *sides, long P) {
  for (const Weight *w = weights; w < weights + count; w++) {
    long at = w->start, size = w->units * w->inputs;
    if (s->flags & (penalty_subgradient | penalty_l2)) add_gradients(s, theta + at, grad + at, size);
    if (s->flags & penalty_proximal) choose_sides(s, t, theta + at, grad + at, average + at, sides + at, size);
  }
  clip(s, grad, P);
}

// L1.project for weights in a row
static void project(const Penalties *restrict s, vf *restrict theta, const vf *restrict sides, long count) {
  for (long p = 0; p < count; p++) {
    vi left = s->penalized & (theta[p] * sides[p] <= 0.0f);
    theta[p] = choose(left, splat(0.0f), theta[p]);
  }
}

// MaxNorm.after_step for up to 8 units, whose sums are taken side by side, each in the order of its inputs
INLINE void shorten(int units, vf limit, vf *theta, long unit, long input, long inputs) {
  vf scale[8] = {};
  for (long i = 0; i < inputs; i++)
    for (int u = 0; u < units; u++) {
      vf w = theta[i * input + u * unit];
      scale[u] = mad(w, w, scale[u]);
    }
  for (int u = 0; u < units; u++) scale[u] = smaller(splat(1.0f), limit / larger(splat(1e-12f), root(scale[u])));
  for (long i = 0; i < inputs; i++)
    for (int u = 0; u < units; u++) theta[i * input + u * unit] *= scale[u];
}

static void limit_norms(vf limit, const Weight *w, vf *theta) {
  long unit = w->outermost ? w->inputs : 1, input = w->outermost ? 1 : w->units, u = 0;
  for (; u + 8 <= w->units; u += 8) shorten(8, limit, theta + w->start + u * unit, unit, input, w->inputs);
  for (; u < w->units; u++) shorten(1, limit, theta + w->start + u * unit, unit, input, w->inputs);
}

static void penalties_behind(const Penalties *s, const Weight *weights, long count, vf *theta, const vf *sides) {
  for (const Weight *w = weights; w < weights + count; w++) {
    if (s->flags & penalty_proximal) project(s, theta + w->start, sides + w->start, w->units * w->inputs);
    if (s->flags & penalty_max_norm) limit_norms(s->max_norm, w, theta);
  }
}

#define NAME(name, ...) #name " "
const char *dlrun_penalty_flags(void) { return PENALTY_FLAGS(NAME); }
const char *dlrun_penalty_numbers(void) { return PENALTY_NUMBERS(NAME); }
#undef NAME

// Step t with a given gradient, in which plain gradient descent with the rate lr stands for the optimizer
void dlrun_penalize(int flags, const vd *numbers, const Weight *weights, long count, int64_t t, float lr, vf *theta, vf *grad,
                    vf *average, vf *sides, long P) {
  Penalties s;
  penalties_begin(flags, numbers, &s);
  penalties_before(&s, weights, count, t, theta, grad, average, sides, P);
  for (long p = 0; p < P; p++) theta[p] = mad(splat(-lr), grad[p], theta[p]);
  penalties_behind(&s, weights, count, theta, sides);
}

#endif
