// Losses: what dlrun/components/losses has, of outputs [rows][width], or [rows][width][pixels] with the classes in the middle.
//
// loss_gradient gives the gradient of the mean over a batch, as the loss of a run is. loss_values gives a value and a weight for
// each row, however many rows there are at a time: the loss of a run is the sum of the values over the sum of the weights, that
// of a row its value over its weight.
//
// Targets are numbers or shares of classes [rows][width] (vf), or class numbers [rows][pixels] (vi), which the kind says: `soft`
// stands for shares, `weighted` for weights of classes or of positives. The numbers p of a kind stand beside it below.
#ifndef DLRUN_LOSSES_H
#define DLRUN_LOSSES_H

#include "activations.h"

// Losses of which every output is judged alone
#define ENTRYWISE(X)                                                                                                              \
  X(mse) X(mae) X(log_cosh) X(bce) X(hinge) X(hinge_squared)                                                                      \
  X(huber)                    /* delta */                                                                                         \
  X(quantile)                 /* tau */                                                                                           \
  X(quantiles)                /* tau of each output; the target is [rows] */                                                      \
  X(bce_with_logits)                                                                                                              \
  X(weighted_bce_with_logits) /* the weight of positives of each output */                                                        \
  X(focal)                    /* gamma; the weight of positives of each output; that of negatives */

// Losses of classes that exclude each other
#define CLASSWISE(X)                                                                                                              \
  X(cross_entropy) X(soft_cross_entropy) X(nll) X(soft_nll)                                                                       \
  X(weighted_cross_entropy) X(soft_weighted_cross_entropy) /* by how much targets were smoothed; the weight of each class */      \
  X(weighted_nll) X(soft_weighted_nll)                     /* the same */

#define LOSSES(X) ENTRYWISE(X) CLASSWISE(X)
#define NUMBERED(name) LOSS_##name,
#define NAMED(name) #name " "
enum { LOSSES(NUMBERED) };
static const char *const LOSS_NAMES = LOSSES(NAMED);
#undef NUMBERED
#undef NAMED

// What a loss sees
typedef struct {
  const vf *p, *output;
  const void *target;
  long rows, width, pixels;
} Judged;

// Entries

// log(1 + e^-|z|), of which both logarithms of a sigmoid are made: log sigmoid(z) = -(max(0, -z) + rest)
INLINE vf logsigmoid_rest(vf z) { return log1p_of_share(exp_within(-smaller(splat(88.0f), magnitude(z)))); }

INLINE vf half_square_linear(vf size, vf delta) {
  vf inner = smaller(delta, size);
  return inner * mad(splat(-0.5f), inner, size);
}

// log cosh r = log1p(2 sinh(r/2)^2), linear from 20 on
INLINE vf log_cosh(vf r) {
  vf size = magnitude(r), inner = smaller(splat(20.0f), size), m = expm1_within(0.5f * inner);
  vf sinh = 0.5f * (m + m / (m + 1.0f));
  return log1p_v(2.0f * sinh * sinh) + (size - inner);
}

INLINE vf bce(vf o, vf t) {
  vf yes = larger(splat(-100.0f), log_v(o)), no = larger(splat(-100.0f), log1p_v(-o));
  return (t - 1.0f) * no - t * yes;
}

INLINE vf bce_gradient(vf o, vf t) { return (o - t) / larger(splat(1e-12f), (1.0f - o) * o); }

// Of a logit z with targets t, where positives count w times
INLINE vf bce_with_logits(vf z, vf t, vf w) {
  vf rest = logsigmoid_rest(z);
  return (1.0f - t) * (larger(splat(0.0f), z) + rest) + w * t * (larger(splat(0.0f), -z) + rest);
}

// The sides of a focal loss: p = sigmoid(z), q = 1 - p, their logarithms, and p^gamma, q^gamma
typedef struct {
  vf p, q, log_p, log_q, p_power, q_power;
} Sides;

INLINE Sides sides(vf z, vf gamma) {
  vf e = exp_within(-smaller(splat(88.0f), magnitude(z))), large = 1.0f / (1.0f + e), small = e * large, rest = log1p_of_share(e);
  vf p = choose(z < 0.0f, small, large), q = choose(z < 0.0f, large, small);
  vf log_p = -(larger(splat(0.0f), -z) + rest), log_q = -(larger(splat(0.0f), z) + rest);
  return (Sides){p, q, log_p, log_q, power(p, gamma), power(q, gamma)};
}

INLINE vf focal(vf z, vf t, vf gamma, vf yes, vf no) {
  Sides s = sides(z, gamma);
  return -(t * yes * s.log_p * s.q_power + (1.0f - t) * no * s.log_q * s.p_power);
}

INLINE vf focal_gradient(vf z, vf t, vf gamma, vf yes, vf no) {
  Sides s = sides(z, gamma);
  vf up = mad(s.log_p * s.p, gamma, -s.q) * s.q_power * t, down = mad(s.log_q * s.q, gamma, -s.p) * s.p_power * (1.0f - t);
  return up * yes - down * no;
}

// The value of output o in column k for target t
INLINE vf entry_value(int kind, const vf *p, long k, long width, vf o, vf t) {
  vf r = o - t, short_by = larger(splat(0.0f), 1.0f - (2.0f * t - 1.0f) * o);
  switch (kind) {
  case LOSS_mse: return r * r;
  case LOSS_mae: return magnitude(r);
  case LOSS_log_cosh: return log_cosh(r);
  case LOSS_bce: return bce(o, t);
  case LOSS_hinge: return short_by;
  case LOSS_hinge_squared: return short_by * short_by;
  case LOSS_huber: return half_square_linear(magnitude(r), p[0]);
  case LOSS_quantile: return choose(r <= 0.0f, p[0] * -r, (p[0] - 1.0f) * -r);
  case LOSS_quantiles: return choose(r <= 0.0f, p[k] * -r, (p[k] - 1.0f) * -r);
  case LOSS_bce_with_logits: return bce_with_logits(o, t, splat(1.0f));
  case LOSS_weighted_bce_with_logits: return bce_with_logits(o, t, p[k]);
  default: return focal(o, t, p[0], p[1 + k], p[1 + width + k]);
  }
}

// Its derivative by the output
INLINE vf entry_gradient(int kind, const vf *p, long k, long width, vf o, vf t) {
  vf r = o - t, aim = 2.0f * t - 1.0f, short_by = larger(splat(0.0f), 1.0f - aim * o), one = splat(1.0f);
  switch (kind) {
  case LOSS_mse: return 2.0f * r;
  case LOSS_mae: return sign(r);
  case LOSS_log_cosh: return tanh_v(r);
  case LOSS_bce: return bce_gradient(o, t);
  case LOSS_hinge: return -aim * sign(short_by);
  case LOSS_hinge_squared: return -2.0f * aim * short_by;
  case LOSS_huber: return smaller(p[0], larger(-p[0], r));
  case LOSS_quantile: return (vf)((vi)one & (r > 0.0f)) - p[0];
  case LOSS_quantiles: return (vf)((vi)one & (r > 0.0f)) - p[k];
  case LOSS_bce_with_logits: return sigmoid(o) - t;
  case LOSS_weighted_bce_with_logits: return mad(sigmoid(o), mad(p[k], t, 1.0f - t), -p[k] * t);
  default: return focal_gradient(o, t, p[0], p[1 + k], p[1 + width + k]);
  }
}

INLINE void entries_gradient(int kind, Judged j, vf *grad) {
  const vf *target = j.target, scale = splat(1.0f / (float)(j.rows * j.width));
  for (long r = 0; r < j.rows; r++)
    for (long k = 0; k < j.width; k++) {
      long i = r * j.width + k;
      grad[i] = entry_gradient(kind, j.p, k, j.width, j.output[i], target[kind == LOSS_quantiles ? r : i]) * scale;
    }
}

// The mean over the entries of a row
INLINE void entries_values(int kind, Judged j, vf *value, vf *weight) {
  const vf *target = j.target, width = splat((float)j.width);
  for (long r = 0; r < j.rows; r++) {
    vf sum = splat(0.0f);
    for (long k = 0; k < j.width; k++) {
      long i = r * j.width + k;
      sum += entry_value(kind, j.p, k, j.width, j.output[i], target[kind == LOSS_quantiles ? r : i]);
    }
    value[r] = sum / width;
    weight[r] = splat(1.0f);
  }
}

// Classes

INLINE int is_soft(int kind) {
  return kind == LOSS_soft_cross_entropy || kind == LOSS_soft_nll || kind == LOSS_soft_weighted_cross_entropy ||
         kind == LOSS_soft_weighted_nll;
}

INLINE int is_weighted(int kind) {
  return kind == LOSS_weighted_cross_entropy || kind == LOSS_soft_weighted_cross_entropy || kind == LOSS_weighted_nll ||
         kind == LOSS_soft_weighted_nll;
}

INLINE int takes_logits(int kind) {
  return kind == LOSS_cross_entropy || kind == LOSS_soft_cross_entropy || kind == LOSS_weighted_cross_entropy ||
         kind == LOSS_soft_weighted_cross_entropy;
}

// The share of class k in the target of pixel i of row r, times the weight of the class
INLINE vf share_of(int kind, Judged j, long r, long i, long k) {
  vf weight = is_weighted(kind) ? j.p[1 + k] : splat(1.0f);
  if (!is_soft(kind)) return (vf)((vi)weight & (((const vi *)j.target)[r * j.pixels + i] == (int32_t)k));
  vf share = ((const vf *)j.target)[(r * j.width + k) * j.pixels + i];
  return is_weighted(kind) ? share * weight : share;
}

// How often a pixel counts in a weighted mean, from its shares after smoothing: as often as before smoothing
INLINE vf unsmoothed(int kind, Judged j, vf count, vf mean) {
  if (!is_soft(kind)) return count;
  vf s = j.p[0];
  return choose(s < 1.0f, (count - s * mean) / (1.0f - s), count);
}

INLINE vf mean_weight(Judged j) {
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) sum += j.p[1 + k];
  return sum / splat((float)j.width);
}

INLINE vf shares(int kind, Judged j, long r, long i) {
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) sum += share_of(kind, j, r, i, k);
  return sum;
}

// What the gradients of a batch are divided by; 1 where nothing counts, since all are 0 then
INLINE vf divisor(int kind, Judged j) {
  vf pixels = splat((float)(j.rows * j.pixels)), count = splat(0.0f);
  if (!is_weighted(kind)) return pixels;
  for (long r = 0; r < j.rows; r++)
    for (long i = 0; i < j.pixels; i++) count += shares(kind, j, r, i);
  count = unsmoothed(kind, j, count, mean_weight(j) * pixels);
  return choose(count == 0.0f, splat(1.0f), count);
}

INLINE void classes_gradient(int kind, Judged j, vf *grad) {
  vf scale = 1.0f / divisor(kind, j);
  for (long r = 0; r < j.rows; r++)
    for (long i = 0; i < j.pixels; i++) {
      long at = r * j.width * j.pixels + i;
      vf *g = grad + at, whole = scale, most;
      if (is_weighted(kind)) whole *= shares(kind, j, r, i);
      if (takes_logits(kind)) whole /= row_exponentials(j.output + at, g, j.width, j.pixels, &most);
      for (long k = 0; k < j.width; k++) {
        vf aim = share_of(kind, j, r, i, k) * scale;
        g[k * j.pixels] = takes_logits(kind) ? mad(g[k * j.pixels], whole, -aim) : -aim;
      }
    }
}

// What is taken from a logit to make it the logarithm of a probability, in two parts
typedef struct {
  vf most, rest;
} Normalizer;

INLINE Normalizer normalizer(const vf *z, long width, long stride) {
  vf most = row_maximum(z, width, stride), sum = splat(0.0f);
  for (long k = 0; k < width; k++) sum += exp_within(larger(splat(-88.0f), z[k * stride] - most));
  return (Normalizer){most, log_v(sum)};
}

// The value of pixel i of row r, times how often it counts
INLINE vf class_value(int kind, Judged j, long r, long i) {
  const vf *z = j.output + r * j.width * j.pixels + i;
  Normalizer n = takes_logits(kind) ? normalizer(z, j.width, j.pixels) : (Normalizer){splat(0.0f), splat(0.0f)};
  vf sum = splat(0.0f);
  for (long k = 0; k < j.width; k++) {
    vf share = share_of(kind, j, r, i, k), log_p = z[k * j.pixels] - n.most - n.rest;
    sum = is_soft(kind) ? mad(-share, log_p, sum)
                        : choose(((const vi *)j.target)[r * j.pixels + i] == (int32_t)k, -share * log_p, sum);
  }
  return sum;
}

INLINE void classes_values(int kind, Judged j, vf *value, vf *weight) {
  vf mean = is_weighted(kind) ? mean_weight(j) : splat(1.0f), pixels = splat((float)j.pixels);
  for (long r = 0; r < j.rows; r++) {
    vf sum = splat(0.0f), count = splat(0.0f);
    for (long i = 0; i < j.pixels; i++) {
      sum += class_value(kind, j, r, i);
      if (is_weighted(kind)) count += unsmoothed(kind, j, shares(kind, j, r, i), mean);
    }
    value[r] = sum / pixels;
    weight[r] = is_weighted(kind) ? count / pixels : splat(1.0f);
  }
}

#define ENTRIES(name)                                                                                                             \
  case LOSS_##name: entries_gradient(LOSS_##name, j, grad); return;
#define CLASSES(name)                                                                                                             \
  case LOSS_##name: classes_gradient(LOSS_##name, j, grad); return;

// grad [rows][width][pixels]: the gradient of the loss of a batch with respect to its output. pixels is 1 for rows of a table.
static void loss_gradient(int kind, const vf *p, const vf *output, const void *target, vf *grad, long rows, long width,
                          long pixels) {
  Judged j = {p, output, target, rows, width, pixels};
  switch (kind) {
    ENTRYWISE(ENTRIES)
    CLASSWISE(CLASSES)
  }
}
#undef ENTRIES
#undef CLASSES

#define ENTRIES(name)                                                                                                             \
  case LOSS_##name: entries_values(LOSS_##name, j, value, weight); return;
#define CLASSES(name)                                                                                                             \
  case LOSS_##name: classes_values(LOSS_##name, j, value, weight); return;

// value, weight [rows]: see above
static void loss_values(int kind, const vf *p, const vf *output, const void *target, vf *value, vf *weight, long rows, long width,
                        long pixels) {
  Judged j = {p, output, target, rows, width, pixels};
  switch (kind) {
    ENTRYWISE(ENTRIES)
    CLASSWISE(CLASSES)
  }
}
#undef ENTRIES
#undef CLASSES

// For the tests and for Python

const char *dlrun_losses(void) { return LOSS_NAMES; }

void dlrun_loss_gradient(int kind, const vf *p, const vf *output, const void *target, vf *grad, long rows, long width,
                         long pixels) {
  loss_gradient(kind, p, output, target, grad, rows, width, pixels);
}

void dlrun_loss_values(int kind, const vf *p, const vf *output, const void *target, vf *value, vf *weight, long rows, long width,
                       long pixels) {
  loss_values(kind, p, output, target, value, weight, rows, width, pixels);
}

#endif
