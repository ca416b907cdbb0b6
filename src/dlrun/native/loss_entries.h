// Losses of which every output is judged alone, and their derivatives by it. See losses.h.
#ifndef DLRUN_LOSS_ENTRIES_H
#define DLRUN_LOSS_ENTRIES_H

#include "loss_kinds.h"

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

#endif
